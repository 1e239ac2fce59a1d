// SPDX-License-Identifier: Apache-2.0
/*
 * Servers that say anything in any order, and streams that break at any moment; over ADS and over a
 * stream for each type, delta and state of the world. Whatever comes: each response of a type that
 * was asked for has exactly one answer on its stream, in order; what is in force never becomes
 * older than it was, and is never what was refused; what a stream was told to be wanted is what is
 * wanted. And when the server comes to its senses, just what it says then is in force.
 *
 * WEFT_SEED: the first seed, WEFT_SEEDS: how many runs of each kind (more: a heavier test).
 */

#include <inttypes.h>

#include "delta_script.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"

#define NAMES 4
#define STEPS 200
#define SEEDS 40
#define DUE_MAX 64

struct world {
	struct script *s;
	uint64_t seed, state;
	unsigned int version; /* of the last response: each has a newer one */
	unsigned int in_force[WEFT_XDS__MAX][NAMES];
	bool sotw, separate, sane;
	bool asked[WEFT_XDS__MAX]; /* on the stream of the moment */
	/* What the stream was told to want: of endpoints and routes. */
	bool told[WEFT_XDS__MAX][NAMES];
	/* Answers that are due, in order, by type. */
	unsigned int due[WEFT_XDS__MAX][DUE_MAX], n_due[WEFT_XDS__MAX];
	unsigned int answers, nacks, changes;
};

#define CHECK(w, condition)                                                                        \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fail_msg("WEFT_SEED=%" PRIu64 "%s%s: %s", (w)->seed,                       \
				 (w)->sotw ? ", state of the world" : "",                          \
				 (w)->separate ? ", separate" : "", #condition);                   \
	} while (0)

static unsigned int roll(struct world *w, unsigned int n)
{
	w->state = w->state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(w->state >> 33) % n;
}

static const char *const names[WEFT_XDS__MAX][NAMES] = {
	[CDS] = {"c0", "c1", "c2", "bad"},
	[EDS] = {"c0", "c1", "c2", "bad"},
	[LDS] = {"l0", "l1", "l2", "bad"},
	[RDS] = {"r0", "r1", "r2", "bad"},
};

static unsigned int index_of(enum weft_xds_type type, const char *name)
{
	unsigned int i = 0;

	while (i < NAMES && strcmp(names[type][i], name))
		i++;
	assert_true(i < NAMES);
	return i;
}

/* ---- streams ---- */

static unsigned int stream_count(const struct world *w)
{
	return w->separate ? WEFT_XDS__MAX : 1;
}

static bool is_up(const struct world *w, enum weft_xds_type type)
{
	return w->s->up[w->separate ? type : 0];
}

static void streams_connect(struct world *w)
{
	for (unsigned int i = 0; i < stream_count(w); i++) {
		if (w->s->up[i] || !weft_delta_wants(w->s->d, i))
			continue;
		assert_int_equal(weft_delta_connected_on(w->s->d, i, w->s->now), 0);
		w->s->up[i] = true;
	}
}

static void cut(struct world *w, unsigned int stream)
{
	weft_delta_disconnected_on(w->s->d, stream, w->s->now);
	w->s->up[stream] = false;
	for (unsigned int t = 0; t < WEFT_XDS__MAX; t++) {
		if (w->separate && t != stream)
			continue;
		w->n_due[t] = 0;
		w->asked[t] = false;
		memset(w->told[t], 0, sizeof(w->told[t]));
	}
}

/* ---- responses ---- */

/* The content is another with each version: of which routes a listener is, whether a cluster has
 * EDS. */
static const char *routes_of(unsigned int version)
{
	return names[RDS][version % 3];
}

static struct pb good_body(enum weft_xds_type type, unsigned int i, unsigned int version)
{
	const char *name = names[type][i];
	char cluster[16];

	switch (type) {
	case CDS:
		return version % 3 ? eds_cluster(name, NULL, (int)version,
						 version % 2 ? DEFAULT_TIMEOUT : 0)
				   : static_cluster(name, (int)version);
	case EDS:
		return cla(name, version);
	case LDS:
		return listener(name, version, routes_of(version), DEFAULT_TIMEOUT);
	default:
		snprintf(cluster, sizeof(cluster), "c%u", version);
		return route(name, cluster);
	}
}

/* Mostly what it is called. */
static struct pb body_of(struct world *w, enum weft_xds_type type, unsigned int i)
{
	struct pb junk = {0};

	if (w->sane || roll(w, 25))
		return good_body(type, w->sane || roll(w, 20) ? i : roll(w, NAMES), w->version);
	pb_string(&junk, 1 + roll(w, 9), "junk");
	return junk;
}

static void fill_delta(struct world *w, enum weft_xds_type type, const char *version)
{
	unsigned int n = roll(w, 4);

	for (unsigned int k = 0; k < n; k++) {
		unsigned int i = roll(w, NAMES);

		switch (roll(w, 8)) {
		case 0:
			remove_name(w->s, names[type][i]);
			break;
		case 1:
			add_heartbeat(w->s, names[type][i], version, (int)roll(w, 30));
			break;
		case 2:
			add_full(w->s, names[type][i], version, NULL, body_of(w, type, i),
				 (int)roll(w, 30));
			break;
		default:
			add(w->s, names[type][i], version, body_of(w, type, i));
		}
	}
}

static void fill_sotw(struct world *w, enum weft_xds_type type, const char *version)
{
	pb_string(&w->s->response, 1, version);
	for (unsigned int i = 0; i < NAMES; i++) {
		struct pb body;

		if (!roll(w, 3))
			continue;
		body = body_of(w, type, i);
		pb_any(&w->s->response, 2, weft_xds_type_url(type), &body);
	}
}

/* All three good names of a type, and nothing else. */
static void fill_sane(struct world *w, enum weft_xds_type type, const char *version)
{
	if (w->sotw)
		pb_string(&w->s->response, 1, version);
	for (unsigned int i = 0; i < NAMES - 1; i++) {
		struct pb body = body_of(w, type, i);

		if (w->sotw)
			pb_any(&w->s->response, 2, weft_xds_type_url(type), &body);
		else
			add(w->s, names[type][i], version, body);
	}
	if (!w->sotw)
		remove_name(w->s, "bad");
}

static void respond_as(struct world *w, enum weft_xds_type type)
{
	char version[16], nonce[16];
	int r;

	w->version++;
	snprintf(version, sizeof(version), "%08u", w->version);
	snprintf(nonce, sizeof(nonce), "%u", w->version);
	begin(w->s, type);
	if (w->sane)
		fill_sane(w, type, version);
	else if (w->sotw)
		fill_sotw(w, type, version);
	else
		fill_delta(w, type, version);
	if (!is_up(w, type))
		return;
	pb_string(&w->s->response, 5, nonce);
	if (!w->sane && !roll(w, 40))
		w->s->response.n -= 1; /* cut off */
	r = weft_delta_receive_on(w->s->d, w->separate ? type : 0, w->s->response.data,
				  w->s->response.n, w->s->now);
	if (r == -EBADMSG) { /* the owner resets the stream */
		cut(w, w->separate ? type : 0);
		return;
	}
	CHECK(w, r == 0);
	if (w->asked[type]) {
		CHECK(w, w->n_due[type] < DUE_MAX);
		w->due[type][w->n_due[type]++] = w->version;
	}
}

/* ---- requests ---- */

struct asked {
	enum weft_xds_type type;
	unsigned int nonce;
	bool error;
};

static void names_tell(struct world *w, enum weft_xds_type type, char *const *list, size_t n,
		       bool wanted)
{
	for (size_t i = 0; i < n; i++) {
		bool *told = &w->told[type][index_of(type, list[i])];

		/* A name that was given up and is wanted again at once is subscribed to anew. */
		CHECK(w, w->sotw || wanted || *told);
		*told = wanted;
		w->changes++;
	}
}

static void read_sotw(struct world *w, const uint8_t *data, size_t len, struct asked *ret)
{
	Envoy__Service__Discovery__V3__DiscoveryRequest *q =
		envoy__service__discovery__v3__discovery_request__unpack(NULL, len, data);

	assert_non_null(q);
	ret->type = weft_xds_type_from_url(q->type_url);
	CHECK(w, ret->type != WEFT_XDS__MAX);
	ret->nonce = (unsigned int)strtoul(q->response_nonce, NULL, 10);
	ret->error = q->error_detail != NULL;
	memset(w->told[ret->type], 0, sizeof(w->told[ret->type]));
	names_tell(w, ret->type, q->resource_names, q->n_resource_names, true);
	envoy__service__discovery__v3__discovery_request__free_unpacked(q, NULL);
}

static void read_delta(struct world *w, const uint8_t *data, size_t len, struct asked *ret)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *q =
		envoy__service__discovery__v3__delta_discovery_request__unpack(NULL, len, data);

	assert_non_null(q);
	ret->type = weft_xds_type_from_url(q->type_url);
	CHECK(w, ret->type != WEFT_XDS__MAX);
	ret->nonce = (unsigned int)strtoul(q->response_nonce, NULL, 10);
	ret->error = q->error_detail != NULL;
	CHECK(w, !q->n_initial_resource_versions || !w->asked[ret->type]);
	names_tell(w, ret->type, q->resource_names_subscribe, q->n_resource_names_subscribe, true);
	names_tell(w, ret->type, q->resource_names_unsubscribe, q->n_resource_names_unsubscribe,
		   false);
	envoy__service__discovery__v3__delta_discovery_request__free_unpacked(q, NULL);
}

/* One request of a stream. False: there is none. */
static bool request_take(struct world *w, unsigned int stream)
{
	struct asked q = {0};
	uint8_t *data;
	size_t len;
	int err = weft_delta_next_request_on(w->s->d, stream, &data, &len);

	if (err == -EAGAIN)
		return false;
	assert_int_equal(err, 0);
	if (w->sotw)
		read_sotw(w, data, len, &q);
	else
		read_delta(w, data, len, &q);
	free(data);
	CHECK(w, !w->separate || q.type == stream);
	w->asked[q.type] = true;
	/* State of the world: a change of names has the nonce of the newest answer, too. */
	if (q.nonce && w->n_due[q.type] && w->due[q.type][0] == q.nonce) {
		memmove(w->due[q.type], w->due[q.type] + 1, --w->n_due[q.type] * sizeof(q.nonce));
		w->answers++;
		w->nacks += q.error;
	} else {
		CHECK(w, !q.error && (!q.nonce || w->sotw));
		CHECK(w, !q.nonce || !w->n_due[q.type] || w->due[q.type][0] > q.nonce);
	}
	return true;
}

/* ---- what must hold ---- */

static void check_in_force(struct world *w)
{
	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		for (unsigned int i = 0; i < NAMES; i++) {
			struct weft_resource *r = weft_snapshot_get(
				w->s->current, (enum weft_xds_type)t, names[t][i]);
			unsigned int version = r ? (unsigned int)strtoul(r->version, NULL, 10) : 0;

			CHECK(w, !r || version >= w->in_force[t][i]);
			if (r)
				w->in_force[t][i] = version;
		}
	}
	CHECK(w, !weft_snapshot_get(w->s->current, CDS, "bad")); /* the owner refuses it */
}

/* What each resource that is held, and what each that is in force, cannot do without. */
struct wanted {
	bool held[WEFT_XDS__MAX][NAMES], any[WEFT_XDS__MAX][NAMES];
};

static void want(struct wanted *v, const struct weft_resource *r, bool held)
{
	enum weft_xds_type target = r->type == CDS ? EDS : RDS;
	const Envoy__Config__Cluster__V3__Cluster *c = (const void *)r->msg;
	unsigned int i;

	if (r->type != CDS && r->type != LDS)
		return;
	if (r->type == CDS && c->type != ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__EDS)
		return;
	i = r->type == CDS ? index_of(EDS, r->name)
			   : index_of(RDS, routes_of((unsigned int)strtoul(r->version, NULL, 10)));
	v->any[target][i] = true;
	v->held[target][i] |= held;
}

static void look(void *ctx, const struct weft_delta_item *item)
{
	struct wanted *v = ctx;

	if (item->warming)
		want(v, item->warming, true);
	if (item->active)
		want(v, item->active, !item->warming && *item->version);
}

/* With nothing left to send: what the streams were told. */
static void check_told(struct world *w)
{
	static const enum weft_xds_type types[] = {EDS, RDS};
	struct wanted v = {0};

	weft_delta_each(w->s->d, look, &v);
	for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
		enum weft_xds_type t = types[k];

		for (unsigned int i = 0; is_up(w, t) && i < NAMES; i++) {
			CHECK(w, w->told[t][i] || !v.held[t][i]);
			CHECK(w, !w->told[t][i] || v.any[t][i]);
		}
	}
}

static void drain(struct world *w)
{
	streams_connect(w);
	for (unsigned int i = 0; i < stream_count(w); i++) {
		while (w->s->up[i] && request_take(w, i))
			;
	}
}

static void check_answered(struct world *w)
{
	for (int t = 0; t < WEFT_XDS__MAX; t++)
		CHECK(w, w->n_due[t] == 0);
}

/* ---- a run ---- */

static void step(struct world *w)
{
	switch (roll(w, 12)) {
	case 0:
		cut(w, roll(w, stream_count(w)));
		if (roll(w, 2))
			pass(w->s, roll(w, 20000));
		break;
	case 1:
		pass(w->s, roll(w, 4000));
		break;
	case 2:
		w->s->pause = roll(w, 2) ? 50 : 0;
		break;
	case 3:
		drain(w);
		if (!w->s->pause)
			check_told(w);
		break;
	default:
		respond_as(w, (enum weft_xds_type)roll(w, WEFT_XDS__MAX));
	}
	if (roll(w, 4))
		streams_connect(w);
	/* Often at once, sometimes a slow connection. */
	for (unsigned int i = 0; i < stream_count(w); i++) {
		for (unsigned int n = roll(w, 6); n && w->s->up[i] && request_take(w, i);)
			n--;
	}
	check_in_force(w);
}

/* From here on the server means well: in the order of the protocol, all of each type. */
static void come_to_its_senses(struct world *w)
{
	static const enum weft_xds_type order[] = {CDS, EDS, LDS, RDS};
	unsigned int version[WEFT_XDS__MAX];

	w->sane = true;
	for (size_t k = 0; k < sizeof(order) / sizeof(order[0]); k++) {
		drain(w);
		respond_as(w, order[k]);
		version[order[k]] = w->version;
	}
	/* Listeners may have waited for clusters, and routes for them. */
	for (size_t k = 2; k < sizeof(order) / sizeof(order[0]); k++) {
		drain(w);
		respond_as(w, order[k]);
		version[order[k]] = w->version;
	}
	drain(w);
	check_answered(w);
	check_told(w);
	check_in_force(w);
	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		for (unsigned int i = 0; i < NAMES; i++) {
			const struct weft_resource *r = weft_snapshot_get(
				w->s->current, (enum weft_xds_type)t, names[t][i]);
			bool due = i < NAMES - 1;

			if (t == EDS)
				due = due && version[CDS] % 3;
			if (t == RDS)
				due = !strcmp(names[t][i], routes_of(version[LDS]));
			CHECK(w, (r != NULL) == due);
			CHECK(w, !r || strtoul(r->version, NULL, 10) == version[t]);
		}
	}
	CHECK(w, weft_delta_complete(w->s->d));
}

static void play(uint64_t seed, bool sotw, bool separate, struct world *w)
{
	*w = (struct world){
		.s = script_new(), .seed = seed, .state = seed, .sotw = sotw, .separate = separate};
	w->s->refuse = "Cluster/bad";
	if (sotw)
		assert_int_equal(weft_delta_speak_sotw(w->s->d), 0);
	if (separate)
		weft_delta_separate(w->s->d);
	weft_delta_tick(w->s->d, w->s->now);
	streams_connect(w);
	for (int i = 0; i < STEPS; i++)
		step(w);
	/* What waits for a pause is applied, and nothing is left unanswered. */
	w->s->pause = 0;
	pass(w->s, 60000);
	drain(w);
	check_in_force(w);
	check_answered(w);
	check_told(w);
	come_to_its_senses(w);
	script_free(w->s);
}

static uint64_t number_of(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void any_server(bool sotw, bool separate)
{
	uint64_t first = number_of("WEFT_SEED", 1), n = number_of("WEFT_SEEDS", SEEDS);
	unsigned int answers = 0, nacks = 0, changes = 0;

	for (uint64_t i = 0; i < n; i++) {
		struct world w;

		play(first + i, sotw, separate, &w);
		answers += w.answers;
		nacks += w.nacks;
		changes += w.changes;
	}
	/* The runs are of use: both kinds of answers, and names that come and go. */
	assert_true(n < SEEDS || (nacks > 500 && answers - nacks > 500 && changes > 500));
}

static void any_delta_server(void **state)
{
	(void)state;
	any_server(false, false);
}

static void any_sotw_server(void **state)
{
	(void)state;
	any_server(true, false);
}

static void any_delta_server_of_each_type(void **state)
{
	(void)state;
	any_server(false, true);
}

static void any_sotw_server_of_each_type(void **state)
{
	(void)state;
	any_server(true, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_delta_server),
		cmocka_unit_test(any_sotw_server),
		cmocka_unit_test(any_delta_server_of_each_type),
		cmocka_unit_test(any_sotw_server_of_each_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
