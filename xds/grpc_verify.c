// SPDX-License-Identifier: Apache-2.0
#include "xds/grpc_verify.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A server's chain is two or three long; gRPC bounds the message it comes in, this the work. */
#define CHAIN_MAX 16
#define SUBJECT_MAX 200

struct weft_xds_trust {
	X509_STORE *store;
	char *file, *crl_file; /* crl_file NULL: nothing is revoked */
};

static void bio_freep(BIO **bio)
{
	BIO_free(*bio);
}

static void certs_freep(STACK_OF(X509) * *certs)
{
	sk_X509_pop_free(*certs, X509_free);
}

#define _bio_ __attribute__((cleanup(bio_freep)))
#define _certs_ __attribute__((cleanup(certs_freep)))

static const char *ssl_reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	return text ? text : "cannot be read";
}

/* A text was read up to its end, not up to something that is broken. */
static bool pem_ended(void)
{
	unsigned long code = ERR_peek_last_error();

	if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
		return false;
	ERR_clear_error();
	return true;
}

/*
 * All certificates of a text, other blocks are skipped. -EBADMSG: one cannot be read; -E2BIG: more
 * than `max`.
 */
static int certs_read(const char *pem, size_t max, STACK_OF(X509) * certs)
{
	BIO *bio _bio_ = BIO_new_mem_buf(pem, -1);
	X509 *cert;

	if (!bio)
		return -ENOMEM;
	ERR_clear_error();
	while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		bool full = (size_t)sk_X509_num(certs) == max;

		if (full || !sk_X509_push(certs, cert)) {
			X509_free(cert);
			return full ? -E2BIG : -ENOMEM;
		}
	}
	return pem_ended() ? 0 : -EBADMSG;
}

static int trust_fill(struct weft_xds_trust *t, const char *pem, struct weft_diag *diag)
{
	STACK_OF(X509) *certs _certs_ = sk_X509_new_null();
	int err = certs ? certs_read(pem, SIZE_MAX, certs) : -ENOMEM;

	if (err == -EBADMSG)
		return weft_diag_add(diag, -EINVAL, t->file, NULL, "certificate %d: %s",
				     sk_X509_num(certs) + 1, ssl_reason());
	if (err)
		return err;
	if (sk_X509_num(certs) == 0)
		return weft_diag_add(diag, -EINVAL, t->file, NULL, "has no certificate (PEM)");
	for (int i = 0; i < sk_X509_num(certs); i++) {
		if (X509_STORE_add_cert(t->store, sk_X509_value(certs, i)) != 1)
			return -ENOMEM;
	}
	return 0;
}

int weft_xds_trust_new(const char *file, const char *pem, struct weft_diag *diag,
		       struct weft_xds_trust **ret)
{
	struct weft_xds_trust *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->store = X509_STORE_new();
	t->file = strdup(file);
	err = t->store && t->file ? trust_fill(t, pem, diag) : -ENOMEM;
	if (!err)
		X509_STORE_set_flags(t->store, X509_V_FLAG_PARTIAL_CHAIN);
	if (err) {
		weft_xds_trust_free(t);
		return err;
	}
	*ret = t;
	return 0;
}

int weft_xds_trust_revoke(struct weft_xds_trust *t, const char *file, const char *pem,
			  struct weft_diag *diag)
{
	BIO *bio _bio_ = BIO_new_mem_buf(pem, -1);
	X509_CRL *crl;
	int n = 0;

	t->crl_file = strdup(file);
	if (!bio || !t->crl_file)
		return -ENOMEM;
	ERR_clear_error();
	while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
		bool added = X509_STORE_add_crl(t->store, crl) == 1;

		X509_CRL_free(crl);
		if (!added)
			return -ENOMEM;
		n++;
	}
	if (!pem_ended())
		return weft_diag_add(diag, -EINVAL, file, NULL, "revocation list %d: %s", n + 1,
				     ssl_reason());
	if (!n)
		return weft_diag_add(diag, -EINVAL, file, NULL, "has no revocation list (PEM)");
	X509_STORE_set_flags(t->store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return 0;
}

void weft_xds_trust_free(struct weft_xds_trust *t)
{
	if (!t)
		return;
	X509_STORE_free(t->store);
	free(t->file);
	free(t->crl_file);
	free(t);
}

static void subject_write(const X509 *cert, char text[SUBJECT_MAX])
{
	BIO *bio _bio_ = BIO_new(BIO_s_mem());
	int n = 0;

	if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0)
		n = BIO_read(bio, text, SUBJECT_MAX - 1);
	text[n > 0 ? n : 0] = '\0';
}

static bool has_uri(X509 *cert, const char *uri)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const ASN1_IA5STRING *value = name->d.uniformResourceIdentifier;

		found = name->type == GEN_URI && (size_t)ASN1_STRING_length(value) == strlen(uri) &&
			!memcmp(ASN1_STRING_get0_data(value), uri, strlen(uri));
	}
	GENERAL_NAMES_free(names);
	return found;
}

static bool has_name(X509 *cert, const char *name)
{
	const unsigned int flags =
		X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
	unsigned char address[16];

	if (strstr(name, "://"))
		return has_uri(cert, name);
	if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
		return X509_check_ip_asc(cert, name, 0) == 1;
	return X509_check_host(cert, name, 0, flags, NULL) == 1;
}

static int names_check(X509 *cert, const char *subject, const char *const *names, size_t n_names,
		       struct weft_diag *diag)
{
	for (size_t i = 0; i < n_names; i++) {
		if (has_name(cert, names[i]))
			return 0;
	}
	return weft_diag_add(diag, -EKEYREJECTED, "server certificate", NULL,
			     "%s does not have the name %s%s", subject, n_names ? names[0] : "",
			     n_names > 1 ? " nor any other allowed" : "");
}

/* What it is about: the file that the operator has to look at. */
static void file_write(const struct weft_xds_trust *t, int error, char *text, size_t size)
{
	switch (error) {
	case X509_V_ERR_CERT_REVOKED:
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_CRL_SIGNATURE_FAILURE:
	case X509_V_ERR_CRL_NOT_YET_VALID:
	case X509_V_ERR_CRL_HAS_EXPIRED:
		snprintf(text, size, "revocations of %s", t->crl_file);
		break;
	default:
		snprintf(text, size, "authorities of %s", t->file);
	}
}

static int chain_check(const struct weft_xds_trust *t, STACK_OF(X509) * chain, const char *subject,
		       struct weft_diag *diag)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	char issuer[SUBJECT_MAX] = "", file[PATH_MAX + 32];
	int err = -ENOMEM;

	if (ctx && X509_STORE_CTX_init(ctx, t->store, sk_X509_value(chain, 0), chain) == 1 &&
	    X509_STORE_CTX_set_default(ctx, "ssl_server") == 1) {
		err = X509_verify_cert(ctx) == 1 ? 0 : -EKEYREJECTED;
		if (err && X509_STORE_CTX_get_error_depth(ctx) > 0 &&
		    X509_STORE_CTX_get_current_cert(ctx))
			subject_write(X509_STORE_CTX_get_current_cert(ctx), issuer);
		file_write(t, X509_STORE_CTX_get_error(ctx), file, sizeof(file));
		if (err)
			weft_diag_add(diag, err, "server certificate", NULL, "%s%s%s: %s (%s)",
				      subject, *issuer ? " below " : "", issuer,
				      X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)),
				      file);
	}
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

int weft_xds_trust_check(const struct weft_xds_trust *t, const char *chain,
			 const char *const *names, size_t n_names, struct weft_diag *diag)
{
	STACK_OF(X509) *certs _certs_ = sk_X509_new_null();
	char subject[SUBJECT_MAX];
	int err = certs ? certs_read(chain, CHAIN_MAX, certs) : -ENOMEM;

	if (err || sk_X509_num(certs) == 0) {
		ERR_clear_error();
		return weft_diag_add(diag, -EKEYREJECTED, "server certificate", NULL,
				     "cannot be read");
	}
	subject_write(sk_X509_value(certs, 0), subject);
	err = chain_check(t, certs, subject, diag);
	if (!err)
		err = names_check(sk_X509_value(certs, 0), subject, names, n_names, diag);
	return err;
}

/* A key that asks for a password cannot be used: nobody is there to type it. */
static int no_password(char *text, int size, int writing, void *ctx)
{
	(void)text;
	(void)size;
	(void)writing;
	(void)ctx;
	return -1;
}

static int key_check(X509 *cert, const char *cert_file, const char *key_file, const char *key,
		     struct weft_diag *diag)
{
	BIO *bio _bio_ = BIO_new_mem_buf(key, -1);
	EVP_PKEY *pkey;
	int match;

	if (!bio)
		return -ENOMEM;
	ERR_clear_error();
	pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	if (!pkey)
		return weft_diag_add(diag, -EINVAL, key_file, NULL, "is no private key (PEM): %s",
				     ssl_reason());
	match = X509_check_private_key(cert, pkey);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
	if (match != 1)
		return weft_diag_add(diag, -EINVAL, key_file, NULL,
				     "is not the key of the certificate %s", cert_file);
	return 0;
}

int weft_xds_identity_check(const char *cert_file, const char *cert, const char *key_file,
			    const char *key, struct weft_diag *diag)
{
	STACK_OF(X509) *certs _certs_ = sk_X509_new_null();
	int err = certs ? certs_read(cert, CHAIN_MAX, certs) : -ENOMEM;
	X509 *own;

	if (err == -EBADMSG)
		return weft_diag_add(diag, -EINVAL, cert_file, NULL, "certificate %d: %s",
				     sk_X509_num(certs) + 1, ssl_reason());
	if (err == -E2BIG)
		return weft_diag_add(diag, -EINVAL, cert_file, NULL,
				     "has more than %d certificates", CHAIN_MAX);
	if (err)
		return err;
	if (sk_X509_num(certs) == 0)
		return weft_diag_add(diag, -EINVAL, cert_file, NULL, "has no certificate (PEM)");
	own = sk_X509_value(certs, 0);
	/* The server would only close the connection, which tells nothing. */
	if (X509_cmp_current_time(X509_get0_notAfter(own)) < 0)
		return weft_diag_add(diag, -EINVAL, cert_file, NULL, "has expired");
	return key_check(own, cert_file, key_file, key, diag);
}
