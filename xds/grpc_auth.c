// SPDX-License-Identifier: Apache-2.0
/*
 * Who the server is and who we are: TLS from files that may be replaced at any time, and the token.
 * A channel keeps the credentials it was made with, so a change makes another channel; the stream
 * of the moment stays on the old one until it ends, as Envoy's connections do.
 */

#include <errno.h>
#include <grpc/grpc_security.h>
#include <grpc/support/string_util.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "xds/credential.h"
#include "xds/grpc_state.h"
#include "xds/grpc_verify.h"

/* The texts of the files. */
struct files {
	char *ca, *crl, *cert, *key;
};

struct stream_auth {
	bool tls;
	char *ca_file, *crl_file, *cert_file, *key_file, *token_file;
	char *sni;    /* NULL: the host of the address */
	char **names; /* sans; none: the sni */
	size_t n_names;
};

/* Made with these files; lives while a lane uses it. */
struct stream_channel {
	unsigned int refs;
	grpc_channel *channel;
	struct files files;
	size_t which;
};

/* Lives as long as a channel that uses it; all in it is its own. */
struct verifier {
	grpc_tls_certificate_verifier_external ops;
	struct weft_xds_trust *trust;
	char **names;
	size_t n_names;
};

/* ---- lists of names ---- */

static void names_free(char **names, size_t n)
{
	for (size_t i = 0; names && i < n; i++)
		free(names[i]);
	free(names);
}

static int names_copy(const char *const *from, size_t n, char ***ret)
{
	char **names = calloc(n, sizeof(*names));

	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		names[i] = strdup(from[i]);
		if (!names[i]) {
			names_free(names, i);
			return -ENOMEM;
		}
	}
	*ret = names;
	return 0;
}

/* ---- the server's certificate ---- */

static int on_verify(void *ctx, grpc_tls_custom_verification_check_request *request,
		     grpc_tls_on_custom_verification_check_done_cb callback, void *callback_arg,
		     grpc_status_code *status, char **details)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	const struct verifier *v = ctx;
	const char *chain = request->peer_info.peer_cert_full_chain;

	(void)callback;
	(void)callback_arg;
	/* An end that needs no chain has the one certificate only. */
	if (!chain || !*chain)
		chain = request->peer_info.peer_cert;
	*status = GRPC_STATUS_OK;
	if (weft_xds_trust_check(v->trust, chain ? chain : "", (const char *const *)v->names,
				 v->n_names, &diag)) {
		char *text = weft_diag_text(&diag);

		*status = GRPC_STATUS_UNAUTHENTICATED;
		*details = gpr_strdup(text ? text : "out of memory");
		free(text);
	}
	return 1;
}

static void on_cancel(void *ctx, grpc_tls_custom_verification_check_request *request)
{
	(void)ctx;
	(void)request;
}

static void verifier_free(void *ctx)
{
	struct verifier *v = ctx;

	weft_xds_trust_free(v->trust);
	names_free(v->names, v->n_names);
	free(v);
}

static int verifier_new(const struct stream_auth *a, const struct files *f, const char *sni,
			struct weft_diag *diag, struct verifier **ret)
{
	const char *const *names = a->n_names ? (const char *const *)a->names : &sni;
	size_t n = a->n_names ? a->n_names : 1;
	struct verifier *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ENOMEM;
	v->ops = (grpc_tls_certificate_verifier_external){.user_data = v,
							  .verify = on_verify,
							  .cancel = on_cancel,
							  .destruct = verifier_free};
	err = weft_xds_trust_new(a->ca_file, f->ca, diag, &v->trust);
	if (!err && f->crl)
		err = weft_xds_trust_revoke(v->trust, a->crl_file, f->crl, diag);
	if (!err)
		err = names_copy(names, n, &v->names);
	if (err) {
		verifier_free(v);
		return err;
	}
	v->n_names = n;
	*ret = v;
	return 0;
}

static grpc_channel_credentials *credentials_new(const struct files *files, struct verifier *v)
{
	grpc_tls_credentials_options *options = grpc_tls_credentials_options_create();
	grpc_tls_certificate_verifier *verifier =
		grpc_tls_certificate_verifier_external_create(&v->ops);
	grpc_tls_certificate_provider *provider;
	grpc_tls_identity_pairs *pairs = NULL;

	if (files->cert) {
		pairs = grpc_tls_identity_pairs_create();
		grpc_tls_identity_pairs_add_pair(pairs, files->key, files->cert);
		grpc_tls_credentials_options_watch_identity_key_cert_pairs(options);
	}
	provider = grpc_tls_certificate_provider_static_data_create(files->ca, pairs);
	grpc_tls_credentials_options_set_certificate_provider(options, provider);
	grpc_tls_credentials_options_watch_root_certs(options);
	/* The verifier checks all of it: chain, time, purpose, names. */
	grpc_tls_credentials_options_set_verify_server_cert(options, 0);
	grpc_tls_credentials_options_set_check_call_host(options, 0);
	grpc_tls_credentials_options_set_certificate_verifier(options, verifier);
	grpc_tls_certificate_provider_release(provider);
	grpc_tls_certificate_verifier_release(verifier);
	return grpc_tls_credentials_create(options);
}

/* ---- files ---- */

static void files_free(struct files *f)
{
	free(f->ca);
	free(f->crl);
	free(f->cert);
	weft_credential_free(f->key);
	*f = (struct files){0};
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static int files_read(const struct stream_auth *a, struct weft_diag *diag, struct files *ret)
{
	struct files f = {0};
	size_t len;
	int err = weft_credential_read(a->ca_file, WEFT_CREDENTIAL_MAX, diag, &f.ca, &len);

	if (!err && a->crl_file)
		err = weft_credential_read(a->crl_file, WEFT_CREDENTIAL_MAX, diag, &f.crl, &len);
	if (!err && a->cert_file)
		err = weft_credential_read(a->cert_file, WEFT_CREDENTIAL_MAX, diag, &f.cert, &len);
	if (!err && a->cert_file)
		err = weft_credential_read(a->key_file, WEFT_CREDENTIAL_MAX, diag, &f.key, &len);
	if (!err && a->cert_file)
		err = weft_xds_identity_check(a->cert_file, f.cert, a->key_file, f.key, diag);
	if (err) {
		files_free(&f);
		return err;
	}
	*ret = f;
	return 0;
}

/* Where systems keep the roots they trust; OpenSSL's variable of the environment comes first. */
static const char *system_roots(void)
{
	static const char *const files[] = {"/etc/ssl/certs/ca-certificates.crt",
					    "/etc/pki/tls/certs/ca-bundle.crt",
					    "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};
	const char *file = getenv(X509_get_default_cert_file_env());

	for (size_t i = 0; !file && i < sizeof(files) / sizeof(files[0]); i++) {
		if (access(files[i], R_OK) == 0)
			file = files[i];
	}
	return file ? file : files[0];
}

/* "host" of "host:port" and of "[::1]:port"; NULL when out of memory. */
static char *host_of(const char *address)
{
	const char *end = strrchr(address, ':');

	if (*address == '[')
		return strndup(address + 1, (size_t)(end - address) - 2);
	return strndup(address, (size_t)(end - address));
}

static int plain_open(const char *address, grpc_channel **ret)
{
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();

	*ret = stream_open_channel(address, credentials, NULL);
	grpc_channel_credentials_release(credentials);
	return *ret ? 0 : -ENOMEM;
}

static int tls_open(const struct stream_auth *a, const char *address, const struct files *f,
		    struct weft_diag *diag, grpc_channel **ret)
{
	char *sni = a->sni ? strdup(a->sni) : host_of(address);
	grpc_channel_credentials *credentials;
	struct verifier *v;
	int err = sni ? verifier_new(a, f, sni, diag, &v) : -ENOMEM;

	if (!err) {
		credentials = credentials_new(f, v);
		*ret = stream_open_channel(address, credentials, sni);
		grpc_channel_credentials_release(credentials);
		err = *ret ? 0 : -ENOMEM;
	}
	free(sni);
	return err;
}

grpc_channel *stream_channel_get(const struct stream_channel *c)
{
	return c->channel;
}

void stream_channel_unref(struct stream_channel *c)
{
	if (!c || --c->refs)
		return;
	if (c->channel)
		grpc_channel_destroy(c->channel);
	files_free(&c->files);
	free(c);
}

/* One that a lane has; a reference more. NULL: none. */
static struct stream_channel *channel_find(const struct weft_xds_stream *s, size_t which,
					   const struct files *f)
{
	for (unsigned int i = 0; i < s->n_lanes; i++) {
		struct stream_channel *c = s->lanes[i].channel;

		if (!c || c->which != which || !same_text(f->ca, c->files.ca) ||
		    !same_text(f->crl, c->files.crl) || !same_text(f->cert, c->files.cert) ||
		    !same_text(f->key, c->files.key))
			continue;
		c->refs++;
		return c;
	}
	return NULL;
}

/* Takes over the files. */
static int channel_open(const struct weft_xds_stream *s, size_t which, struct files *f,
			struct weft_diag *diag, struct stream_channel **ret)
{
	struct stream_channel *c = calloc(1, sizeof(*c));
	int err = -ENOMEM;

	if (c) {
		c->refs = 1;
		c->which = which;
		c->files = *f;
		err = s->auth->tls ? tls_open(s->auth, s->addresses[which], f, diag, &c->channel)
				   : plain_open(s->addresses[which], &c->channel);
	} else {
		files_free(f);
	}
	if (err) {
		stream_channel_unref(c);
		return err;
	}
	*ret = c;
	return 0;
}

int stream_auth_channel(struct weft_xds_stream *s, struct lane *l, struct weft_diag *diag)
{
	struct stream_channel *c;
	struct files f = {0};
	int err = s->auth->tls ? files_read(s->auth, diag, &f) : 0;

	if (err)
		return err;
	c = channel_find(s, l->which, &f);
	if (c)
		files_free(&f);
	else
		err = channel_open(s, l->which, &f, diag, &c);
	if (err)
		return err;
	stream_channel_unref(l->channel);
	l->channel = c;
	return 0;
}

int stream_auth_headers(const struct stream_auth *a, struct weft_xds_metadata *md,
			struct weft_diag *diag)
{
	char *token, *header;
	int err;

	if (!a->token_file)
		return 0;
	err = weft_credential_token(a->token_file, diag, &token);
	if (err)
		return err;
	if (asprintf(&header, "Bearer %s", token) < 0)
		header = NULL;
	err = header ? weft_xds_metadata_add(md, "authorization", header) : -ENOMEM;
	weft_credential_free(token);
	weft_credential_free(header);
	return err;
}

/* ---- life ---- */

static int copy(const char *from, char **ret)
{
	*ret = from ? strdup(from) : NULL;
	return from && !*ret ? -ENOMEM : 0;
}

static int tls_check(const struct weft_xds_stream_conf *conf, struct weft_diag *diag)
{
	const struct weft_xds_tls *tls = conf->tls;

	for (size_t i = 0; !tls->sni && i <= conf->n_more; i++) {
		const char *address = i ? conf->more[i - 1] : conf->address;

		if (!strncmp(address, "unix:", 5))
			return weft_diag_add(diag, -EINVAL, address, "sni",
					     "is required for TLS on a unix socket");
	}
	if (!tls->cert_file != !tls->key_file)
		return weft_diag_add(diag, -EINVAL, conf->address,
				     tls->cert_file ? "key" : "certificate",
				     "is required: a client certificate is both");
	return 0;
}

static int tls_copy(struct stream_auth *a, const struct weft_xds_stream_conf *conf)
{
	const struct weft_xds_tls *tls = conf->tls;
	int err = copy(tls->ca_file ? tls->ca_file : system_roots(), &a->ca_file);

	if (!err)
		err = copy(tls->crl_file, &a->crl_file);
	if (!err)
		err = copy(tls->cert_file, &a->cert_file);
	if (!err)
		err = copy(tls->key_file, &a->key_file);
	if (!err)
		err = copy(tls->sni, &a->sni);
	if (!err && tls->n_sans)
		err = names_copy(tls->sans, tls->n_sans, &a->names);
	if (!err)
		a->n_names = tls->n_sans;
	return err;
}

int stream_auth_new(const struct weft_xds_stream_conf *conf, struct weft_diag *diag,
		    struct stream_auth **ret)
{
	struct stream_auth *a;
	int err;

	if (conf->token_file && !conf->tls && !conf->token_plaintext)
		return weft_diag_add(diag, -EINVAL, conf->token_file, NULL,
				     "is not sent without TLS");
	err = conf->tls ? tls_check(conf, diag) : 0;
	if (err)
		return err;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->tls = conf->tls;
	err = copy(conf->token_file, &a->token_file);
	if (!err && conf->tls)
		err = tls_copy(a, conf);
	if (!err && a->token_file) {
		char *token = NULL;

		err = weft_credential_token(a->token_file, diag, &token);
		weft_credential_free(token);
	}
	if (err) {
		stream_auth_free(a);
		return err;
	}
	*ret = a;
	return 0;
}

void stream_auth_free(struct stream_auth *a)
{
	if (!a)
		return;
	free(a->ca_file);
	free(a->crl_file);
	free(a->cert_file);
	free(a->key_file);
	free(a->sni);
	free(a->token_file);
	names_free(a->names, a->n_names);
	free(a);
}
