// SPDX-License-Identifier: Apache-2.0
/*
 * Random expressions and texts, asked of ours and of RE2. Left out is what RE2 itself changed between the version that
 * distributions have and Envoy's (whose answers are in test/unit/test_regex_emit.c): cases of letters beyond ASCII, and
 * such letters in branches; joined branches of which one ignores case; the size of repeated anchors.
 */
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include <re2/re2.h>

#include <linux/types.h>
struct weft_regex;
struct weft_regex_error {
	char text[160];
};
struct weft_regex_span {
	int32_t begin, end;
};
/* The parts of weft_img_dfa that are looked at (bpf/abi/image.h is C). */
struct dfa {
	uint16_t n_state, stride, start, pad;
	uint8_t class_of[256];
};
extern "C" {
int weft_regex_new(const char *, uint32_t, weft_regex **, weft_regex_error *);
void weft_regex_free(weft_regex *);
uint32_t weft_regex_program_size(const weft_regex *);
int weft_regex_dfa(const weft_regex *, size_t, void **, size_t *);
int weft_regex_search(const weft_regex *, const void *, uint32_t, uint32_t, weft_regex_span *, uint32_t);
int weft_regex_replace(const weft_regex *, const void *, uint32_t, const char *, char **, uint32_t *);
}

static std::mt19937 rng(20240607);

static unsigned rnd(unsigned n)
{
	return static_cast<unsigned>(rng()) % n;
}

template <size_t N> static const char *pick(const char *const (&list)[N])
{
	return list[rnd(N)];
}

static const char *const atoms[] = {
	"a", "b", "ab", "abc", "[a-c]", "[^/]", "\\d", "\\w", "\\W", ".", "\\.", "/", "[A-Z]", "x", "1", "\\s",
	"[[:alpha:]]", "[^a]", "\\pL", "\\PN", "\\x41", "k", "[k-z]", "-", "_", "\\b", "\\B", "^", "$", "\\A",
	"\\z", "\\C", "\\Qa.b\\E", "\xc3\xa9", "\\xe9", "(?:)", "\\p{Greek}", "[[:^space:]x]", "\\n", "(?s).",
	"(?m)^", "(?m)$", "aa", "ba", "bb",
};
static const char *const odd[] = {
	"(", "[", ")", "*", "{", "}", "{2", "a{,2}", "a{1001}", "\\", "(?", "(?=", "[b-a]", "a**", "\\1", "\\q",
	"\\8", "[[:foo:]]", "\\p{Foo}", "(?P<n", "(?P<>a)", "[a-", "\\x{100}", "\\x{41}", "|", "||a",
	"(a{500}){3}", "\\07", "\\777", "]", "[]a]", "[^]a]", "[a-\\d]", "x{2}{3}", "\\Z", "\\_", "(?:a*)*",
	"(?:a*)+", "(?:a+)?", "a*a+", "a*aab", "a{2}a", "(?:^)*", "[^\\x00-\\xff]", "a|b|[c-e]", "abc|abd|ab",
	"ax|a", "(?s).|a|b", "(?s).*", "x(?s).*", "(?s:.*)$", "^abc", "^a.*", "^ab|^ac", "(^a)b",
	"(?:a|ab)(?:c|bcd)(?:d*)", "(?P<n>a)",
};
static const char *const counts[] = {"*", "+", "?", "*?", "+?", "??", "{2}", "{0,3}", "{2,}", "{1,4}?", "{0}", "{1}"};
static const char *const flags[] = {"(?s)", "(?m)", "(?U)", "(?s-m:", "(?U:"};

static std::string make(int depth)
{
	unsigned r = rnd(12);
	std::string s;

	if (depth <= 0 || r < 4)
		return pick(atoms);
	if (r < 7) {
		for (unsigned i = 2 + rnd(3); i; i--)
			s += make(depth - 1);
		return s;
	}
	if (r < 9) {
		s = rnd(2) ? "(?:" : "(";
		for (unsigned i = 1 + rnd(3); i; i--)
			s += (rnd(8) ? make(depth - 1) : "") + std::string(i > 1 ? "|" : "");
		return s + ")";
	}
	if (r == 9) {
		s = make(depth - 1);
		return (rnd(3) ? "(?:" + s + ")" : rnd(2) ? "(" + s + ")" : s) + pick(counts);
	}
	if (r == 10) {
		s = pick(flags);
		return s + make(depth - 1) + (s.back() == ':' ? ")" : "");
	}
	return rnd(4) ? pick(atoms) : pick(odd);
}

static int failed;

static void differs(const char *what, const std::string &pattern, const std::string &text)
{
	std::printf("%s differs: %s on '%s'\n", what, pattern.c_str(), text.c_str());
	failed++;
}

static bool by_table(const void *bytes, const std::string &text)
{
	const dfa *t = static_cast<const dfa *>(bytes);
	const uint16_t *next = reinterpret_cast<const uint16_t *>(t + 1);
	unsigned s = t->start;

	for (unsigned char c : text)
		s = next[s / 2 + t->class_of[c]];
	return next[s / 2];
}

static void compare_groups(const RE2 &re, const weft_regex *w, const std::string &p, const std::string &t)
{
	int n = re.NumberOfCapturingGroups() + 1;
	re2::StringPiece g[10];
	weft_regex_span span[10];

	if (n > 10)
		n = 10;
	bool want = re.Match(t, 0, t.size(), RE2::UNANCHORED, g, n);
	int got = weft_regex_search(w, t.data(), static_cast<uint32_t>(t.size()), 0, span, static_cast<uint32_t>(n));

	if (want != (got > 0))
		return differs("search", p, t);
	for (int i = 0; want && i < n; i++) {
		long begin = g[i].data() ? g[i].data() - t.data() : -1;

		if (begin != span[i].begin || (begin >= 0 && begin + static_cast<long>(g[i].size()) != span[i].end))
			return differs("a group", p, t);
	}
}

static void compare_text(const RE2 &re, const weft_regex *w, const void *table, const std::string &p)
{
	static const char alphabet[] = "aabbcckKxX1/._- \nABC\xe9\xc3";
	std::string t;

	for (unsigned n = rnd(9); n; n--)
		t += alphabet[rnd(sizeof(alphabet) - 1)];
	if (table && by_table(table, t) != RE2::FullMatch(t, re))
		differs("full match", p, t);
	compare_groups(re, w, p, t);
	std::string u = t;
	char *out = nullptr;
	uint32_t len = 0;
	int want = RE2::GlobalReplace(&u, re, "<\\0>");

	if (want != weft_regex_replace(w, t.data(), static_cast<uint32_t>(t.size()), "<\\0>", &out, &len) ||
	    (want && u != std::string(out, len)))
		differs("replacement", p, t);
	free(out);
}

int main()
{
	unsigned both = 0, refused = 0, tables = 0;

	for (int i = 0; i < 20000 && failed < 20; i++) {
		std::string p = (rnd(6) ? "" : "(?i)") + make(3 + static_cast<int>(rnd(2)));
		bool fold = p.compare(0, 4, "(?i)") == 0;
		RE2::Options o;

		o.set_encoding(RE2::Options::EncodingLatin1);
		o.set_log_errors(false);
		RE2 re(p, o);
		weft_regex *w = nullptr;
		weft_regex_error error;
		int r = weft_regex_new(p.c_str(), UINT32_MAX, &w, &error);

		bool wide = p.find("\xc3") != std::string::npos || p.find("\\xe9") != std::string::npos;

		if ((wide && p.find('|') != std::string::npos) || (fold && (wide || p.find('|') != std::string::npos || p.find("\\p") != std::string::npos))) {
			weft_regex_free(w);
			continue;
		}
		if (re.ok() == !!r)
			differs(r ? error.text : "acceptance", p, re.error());
		if (r || !re.ok()) {
			refused++;
			weft_regex_free(w);
			continue;
		}
		both++;
		bool anchors = p.find_first_of("{") != std::string::npos;

		if (!anchors && static_cast<int>(weft_regex_program_size(w)) != re.ProgramSize())
			differs("program size", p, std::to_string(re.ProgramSize()));
		void *table = nullptr;
		size_t len;

		if (!weft_regex_dfa(w, 1 << 20, &table, &len))
			tables++;
		for (int k = 0; k < 12; k++)
			compare_text(re, w, table, p);
		free(table);
		weft_regex_free(w);
	}
	std::printf("%u compared, %u refused by both, %u tables, %d differences\n", both, refused, tables, failed);
	return failed || both < 1000 || refused < 100 || tables < both / 2;
}
