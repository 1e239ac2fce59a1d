// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "xds/grpc_verify.h"

#define DAY 86400

/* Authorities and certificates below them, made once. */
struct party {
	X509 *cert;
	EVP_PKEY *key;
	char *pem, *key_pem;
};

static struct party root, stranger, between, server, old, early, client_only, by_between;
static char *between_chain;

struct wish {
	const char *name;
	const struct party *issuer; /* NULL: itself */
	const char *san, *usage;
	long from, until; /* days from now */
};

static void extend(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	assert_int_equal(X509_add_ext(cert, e, -1), 1);
	X509_EXTENSION_free(e);
}

static char *text_of(BIO *bio)
{
	char *data;
	long n = BIO_get_mem_data(bio, &data);
	char *text = strndup(data, (size_t)n);

	assert_non_null(text);
	BIO_free(bio);
	return text;
}

static void make(struct party *p, const struct wish *w)
{
	static long serial = 1;
	const struct party *issuer = w->issuer ? w->issuer : p;
	BIO *bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
	X509_NAME *name;

	p->key = EVP_EC_gen("P-256");
	p->cert = X509_new();
	assert_true(p->key && p->cert && bio && key_bio);
	name = X509_get_subject_name(p->cert);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)w->name, -1,
				   -1, 0);
	X509_set_version(p->cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(p->cert), serial++);
	X509_set_issuer_name(p->cert, X509_get_subject_name(issuer->cert));
	X509_gmtime_adj(X509_getm_notBefore(p->cert), w->from * DAY);
	X509_gmtime_adj(X509_getm_notAfter(p->cert), w->until * DAY);
	X509_set_pubkey(p->cert, p->key);
	extend(p->cert, NID_basic_constraints, w->san ? "critical,CA:FALSE" : "critical,CA:TRUE");
	if (w->san)
		extend(p->cert, NID_subject_alt_name, w->san);
	if (w->usage)
		extend(p->cert, NID_ext_key_usage, w->usage);
	assert_true(X509_sign(p->cert, issuer->key, EVP_sha256()) > 0);
	PEM_write_bio_X509(bio, p->cert);
	PEM_write_bio_PrivateKey(key_bio, p->key, NULL, NULL, 0, NULL, NULL);
	p->pem = text_of(bio);
	p->key_pem = text_of(key_bio);
}

static void unmake(struct party *p)
{
	X509_free(p->cert);
	EVP_PKEY_free(p->key);
	free(p->pem);
	free(p->key_pem);
}

static int make_all(void **state)
{
	static const char san[] =
		"DNS:istiod.istio-system.svc,DNS:*.mesh.test,IP:10.0.0.1,IP:fd00::1,"
		"URI:spiffe://cluster.local/ns/istio-system/sa/istiod";

	(void)state;
	make(&root, &(struct wish){.name = "root", .from = -1, .until = 1});
	make(&stranger, &(struct wish){.name = "root", .from = -1, .until = 1});
	make(&between, &(struct wish){.name = "between", .issuer = &root, .from = -1, .until = 1});
	make(&server, &(struct wish){"server", &root, san, "serverAuth", -1, 1});
	make(&old, &(struct wish){"old", &root, san, NULL, -2, -1});
	make(&early, &(struct wish){"early", &root, san, NULL, 1, 2});
	make(&client_only, &(struct wish){"client", &root, san, "clientAuth", -1, 1});
	make(&by_between, &(struct wish){"below", &between, san, NULL, -1, 1});
	if (asprintf(&between_chain, "%s%s", by_between.pem, between.pem) < 0)
		return -1;
	return 0;
}

/* A list of an issuer, valid from and until (days from now), with a certificate that it takes back.
 */
static char *revocations(const struct party *issuer, const struct party *taken, long from,
			 long until)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *at = ASN1_TIME_new();
	BIO *bio = BIO_new(BIO_s_mem());

	assert_true(crl && at && bio);
	X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->cert));
	X509_gmtime_adj(at, from * DAY);
	X509_CRL_set1_lastUpdate(crl, at);
	X509_gmtime_adj(at, until * DAY);
	X509_CRL_set1_nextUpdate(crl, at);
	if (taken) {
		X509_REVOKED *r = X509_REVOKED_new();

		assert_non_null(r);
		X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(taken->cert));
		X509_gmtime_adj(at, from * DAY);
		X509_REVOKED_set_revocationDate(r, at);
		assert_int_equal(X509_CRL_add0_revoked(crl, r), 1);
	}
	X509_CRL_sort(crl);
	assert_true(X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
	PEM_write_bio_X509_CRL(bio, crl);
	X509_CRL_free(crl);
	ASN1_TIME_free(at);
	return text_of(bio);
}

static int unmake_all(void **state)
{
	struct party *all[] = {&root, &stranger, &between,     &server,
			       &old,  &early,	 &client_only, &by_between};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		unmake(all[i]);
	free(between_chain);
	return 0;
}

/* NULL: accepted. */
static void check(const char *authorities, const char *chain, const char *name, const char *reason)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_xds_trust *t;

	assert_int_equal(weft_xds_trust_new("roots.pem", authorities, &diag, &t), 0);
	assert_int_equal(weft_xds_trust_check(t, chain, &name, 1, &diag),
			 reason ? -EKEYREJECTED : 0);
	assert_int_equal(diag.n, reason ? 1 : 0);
	if (reason)
		assert_string_equal(diag.entries[0].reason, reason);
	weft_xds_trust_free(t);
}

static void test_names(void **state)
{
	static const char *const good[] = {"istiod.istio-system.svc",
					   "ISTIOD.istio-system.svc",
					   "a.mesh.test",
					   "10.0.0.1",
					   "fd00:0::1",
					   "spiffe://cluster.local/ns/istio-system/sa/istiod"};
	/* The subject's name is no name (RFC 6125 section 6.4.4), a wildcard is one whole label. */
	static const char *const bad[] = {"server",
					  "istiod",
					  "mesh.test",
					  "a.b.mesh.test",
					  "10.0.0.2",
					  "spiffe://cluster.local/ns/istio-system/sa/istiod/x",
					  "spiffe://cluster.local/ns/istio-system/sa/",
					  "*.istio-system.svc"};
	char reason[200];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		check(root.pem, server.pem, good[i], NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(reason, sizeof(reason), "CN=server does not have the name %s", bad[i]);
		check(root.pem, server.pem, bad[i], reason);
	}
}

/* With one or two lists (taken over); NULL: accepted. */
static void check_revoked(const char *authorities, const char *chain, char *first, char *second,
			  const char *reason)
{
	const char *name = "10.0.0.1";
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_xds_trust *t;
	char *lists;

	assert_true(asprintf(&lists, "%s%s", first, second ? second : "") > 0);
	free(first);
	free(second);
	assert_int_equal(weft_xds_trust_new("roots.pem", authorities, &diag, &t), 0);
	assert_int_equal(weft_xds_trust_revoke(t, "r.crl", lists, &diag), 0);
	free(lists);
	assert_int_equal(weft_xds_trust_check(t, chain, &name, 1, &diag),
			 reason ? -EKEYREJECTED : 0);
	if (reason)
		assert_string_equal(diag.entries[0].reason, reason);
	weft_xds_trust_free(t);
}

static void test_revocations(void **state)
{
	(void)state;
	check_revoked(root.pem, server.pem, revocations(&root, NULL, -1, 1), NULL, NULL);
	check_revoked(root.pem, server.pem, revocations(&root, &old, -1, 1), NULL, NULL);
	check_revoked(root.pem, server.pem, revocations(&root, &server, -1, 1), NULL,
		      "CN=server: certificate revoked (revocations of r.crl)");
	check_revoked(root.pem, server.pem, revocations(&root, &server, -2, -1), NULL,
		      "CN=server: CRL has expired (revocations of r.crl)");
	check_revoked(root.pem, server.pem, revocations(&root, NULL, 1, 2), NULL,
		      "CN=server: CRL is not yet valid (revocations of r.crl)");
	/* Of another authority, also of one that has the same name. */
	check_revoked(root.pem, server.pem, revocations(&between, NULL, -1, 1), NULL,
		      "CN=server: unable to get certificate CRL (revocations of r.crl)");
	check_revoked(root.pem, server.pem, revocations(&stranger, NULL, -1, 1), NULL,
		      "CN=server: CRL signature failure (revocations of r.crl)");
	/* What is not about them is said as before. */
	check_revoked(root.pem, old.pem, revocations(&root, NULL, -1, 1), NULL,
		      "CN=old: certificate has expired (authorities of roots.pem)");
}

static void test_revocations_of_a_chain(void **state)
{
	(void)state;
	check_revoked(root.pem, between_chain, revocations(&root, NULL, -1, 1),
		      revocations(&between, NULL, -1, 1), NULL);
	check_revoked(root.pem, between_chain, revocations(&root, NULL, -1, 1), NULL,
		      "CN=below: unable to get certificate CRL (revocations of r.crl)");
	check_revoked(root.pem, between_chain, revocations(&root, NULL, -1, 1),
		      revocations(&between, &by_between, -1, 1),
		      "CN=below: certificate revoked (revocations of r.crl)");
	check_revoked(root.pem, between_chain, revocations(&root, &between, -1, 1),
		      revocations(&between, NULL, -1, 1),
		      "CN=below below CN=between: certificate revoked (revocations of r.crl)");
}

static void test_revocations_that_are_none(void **state)
{
	static const char *const bad[] = {
		"", "text\n", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
		struct weft_xds_trust *t;

		assert_int_equal(weft_xds_trust_new("roots.pem", root.pem, &diag, &t), 0);
		assert_int_equal(weft_xds_trust_revoke(t, "r.crl", bad[i], &diag), -EINVAL);
		assert_int_equal(diag.n, 1);
		assert_string_equal(diag.entries[0].resource, "r.crl");
		weft_xds_trust_free(t);
	}
}

static void test_any_of_several_names(void **state)
{
	const char *const names[] = {"no.such", "10.0.0.1"};
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_xds_trust *t;

	(void)state;
	assert_int_equal(weft_xds_trust_new("f", root.pem, &diag, &t), 0);
	assert_int_equal(weft_xds_trust_check(t, server.pem, names, 2, &diag), 0);
	assert_int_equal(weft_xds_trust_check(t, server.pem, names, 0, &diag), -EKEYREJECTED);
	weft_xds_trust_free(t);
}

static void test_chains(void **state)
{
	static const char name[] = "10.0.0.1";

	(void)state;
	check(root.pem, between_chain, name, NULL);
	/* What is in the file is trusted, also when it is no root. */
	check(between.pem, by_between.pem, name, NULL);
	check(root.pem, by_between.pem, name,
	      "CN=below: unable to get local issuer certificate (authorities of roots.pem)");
	/* Of the same name, but another key. */
	check(stranger.pem, server.pem, name,
	      "CN=server: certificate signature failure (authorities of roots.pem)");
	check(root.pem, old.pem, name,
	      "CN=old: certificate has expired (authorities of roots.pem)");
	check(root.pem, early.pem, name,
	      "CN=early: certificate is not yet valid (authorities of roots.pem)");
	check(root.pem, client_only.pem, name,
	      "CN=client: unsuitable certificate purpose (authorities of roots.pem)");
}

static void test_chains_that_are_none(void **state)
{
	char *many = calloc(20, strlen(server.pem) + 1);

	(void)state;
	assert_non_null(many);
	check(root.pem, "", "10.0.0.1", "cannot be read");
	check(root.pem, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	      "10.0.0.1", "cannot be read");
	for (int i = 0; i < 17; i++)
		strcat(many, server.pem);
	check(root.pem, many, "10.0.0.1", "cannot be read");
	free(many);
}

static void test_authorities_that_are_none(void **state)
{
	static const char *const bad[] = {
		"", "text\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"};
	struct weft_xds_trust *t = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

		assert_int_equal(weft_xds_trust_new("roots.pem", bad[i], &diag, &t), -EINVAL);
		assert_int_equal(diag.n, 1);
		assert_string_equal(diag.entries[0].resource, "roots.pem");
		assert_null(t);
	}
}

static void identity(const char *cert, const char *key, const char *file, const char *reason)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

	assert_int_equal(weft_xds_identity_check("own.pem", cert, "own.key", key, &diag),
			 file ? -EINVAL : 0);
	assert_int_equal(diag.n, file ? 1 : 0);
	if (file) {
		assert_string_equal(diag.entries[0].resource, file);
		assert_non_null(strstr(diag.entries[0].reason, reason));
	}
}

static void test_identity(void **state)
{
	char *many = calloc(20, strlen(server.pem) + 1);
	BIO *bio = BIO_new(BIO_s_mem());
	char *locked;

	(void)state;
	assert_true(many && bio);
	identity(client_only.pem, client_only.key_pem, NULL, NULL);
	identity(between_chain, by_between.key_pem, NULL, NULL);
	identity(client_only.pem, server.key_pem, "own.key",
		 "is not the key of the certificate own.pem");
	identity(old.pem, old.key_pem, "own.pem", "has expired");
	identity(client_only.key_pem, client_only.key_pem, "own.pem", "has no certificate");
	identity("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", server.key_pem,
		 "own.pem", "certificate 1: ");
	identity(client_only.pem, client_only.pem, "own.key", "is no private key");
	/* Nobody could type its password. */
	PEM_write_bio_PrivateKey(bio, server.key, EVP_aes_128_cbc(), (unsigned char *)"x", 1, NULL,
				 NULL);
	locked = text_of(bio);
	identity(server.pem, locked, "own.key", "is no private key");
	free(locked);
	for (int i = 0; i < 17; i++)
		strcat(many, server.pem);
	identity(many, server.key_pem, "own.pem", "has more than 16 certificates");
	free(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_revocations),
		cmocka_unit_test(test_revocations_of_a_chain),
		cmocka_unit_test(test_revocations_that_are_none),
		cmocka_unit_test(test_any_of_several_names),
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_chains_that_are_none),
		cmocka_unit_test(test_authorities_that_are_none),
		cmocka_unit_test(test_identity),
	};

	return cmocka_run_group_tests(tests, make_all, unmake_all);
}
