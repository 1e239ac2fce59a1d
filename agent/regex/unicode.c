// SPDX-License-Identifier: Apache-2.0
/* Unicode's general categories and scripts, as far as Latin-1 goes (Unicode 15): most have no byte, but a name. */
#include <string.h>

#include "agent/regex/internal.h"

struct group {
	const char *name;
	struct regex_set set;
};

/* clang-format off */
static const struct group groups[] = {
	{.name = "Adlam"}, {.name = "Ahom"}, {.name = "Anatolian_Hieroglyphs"},
	{"Any", {{0xffffffffffffffffull, 0xffffffffffffffffull, 0xffffffffffffffffull, 0xffffffffffffffffull}}},
	{.name = "Arabic"}, {.name = "Armenian"}, {.name = "Avestan"}, {.name = "Balinese"},
	{.name = "Bamum"}, {.name = "Bassa_Vah"}, {.name = "Batak"}, {.name = "Bengali"},
	{.name = "Bhaiksuki"}, {.name = "Bopomofo"}, {.name = "Brahmi"}, {.name = "Braille"},
	{.name = "Buginese"}, {.name = "Buhid"},
	{"C", {{0xffffffffull, 0x8000000000000000ull, 0x2000ffffffffull, 0}}},
	{.name = "Canadian_Aboriginal"}, {.name = "Carian"}, {.name = "Caucasian_Albanian"},
	{"Cc", {{0xffffffffull, 0x8000000000000000ull, 0xffffffffull, 0}}},
	{"Cf", {{0, 0, 0x200000000000ull, 0}}},
	{.name = "Chakma"}, {.name = "Cham"}, {.name = "Cherokee"}, {.name = "Chorasmian"},
	{.name = "Co"},
	{"Common", {{0xffffffffffffffffull, 0xf8000001f8000001ull, 0xfbfffbffffffffffull, 0x80000000800000ull}}},
	{.name = "Coptic"}, {.name = "Cs"}, {.name = "Cuneiform"}, {.name = "Cypriot"},
	{.name = "Cypro_Minoan"}, {.name = "Cyrillic"}, {.name = "Deseret"},
	{.name = "Devanagari"}, {.name = "Dives_Akuru"}, {.name = "Dogra"}, {.name = "Duployan"},
	{.name = "Egyptian_Hieroglyphs"}, {.name = "Elbasan"}, {.name = "Elymaic"},
	{.name = "Ethiopic"}, {.name = "Georgian"}, {.name = "Glagolitic"}, {.name = "Gothic"},
	{.name = "Grantha"},
	{.name = "Greek"},
	{.name = "Gujarati"}, {.name = "Gunjala_Gondi"}, {.name = "Gurmukhi"}, {.name = "Han"},
	{.name = "Hangul"}, {.name = "Hanifi_Rohingya"}, {.name = "Hanunoo"}, {.name = "Hatran"},
	{.name = "Hebrew"}, {.name = "Hiragana"}, {.name = "Imperial_Aramaic"},
	{.name = "Inherited"}, {.name = "Inscriptional_Pahlavi"},
	{.name = "Inscriptional_Parthian"}, {.name = "Javanese"}, {.name = "Kaithi"},
	{.name = "Kannada"}, {.name = "Katakana"}, {.name = "Kawi"}, {.name = "Kayah_Li"},
	{.name = "Kharoshthi"}, {.name = "Khitan_Small_Script"}, {.name = "Khmer"},
	{.name = "Khojki"}, {.name = "Khudawadi"},
	{"L", {{0, 0x7fffffe07fffffeull, 0x420040000000000ull, 0xff7fffffff7fffffull}}},
	{.name = "Lao"},
	{"Latin", {{0, 0x7fffffe07fffffeull, 0x400040000000000ull, 0xff7fffffff7fffffull}}},
	{.name = "Lepcha"}, {.name = "Limbu"}, {.name = "Linear_A"}, {.name = "Linear_B"},
	{.name = "Lisu"},
	{"Ll", {{0, 0x7fffffe00000000ull, 0x20000000000000ull, 0xff7fffff80000000ull}}},
	{.name = "Lm"},
	{"Lo", {{0, 0, 0x400040000000000ull, 0}}},
	{.name = "Lt"},
	{"Lu", {{0, 0x7fffffeull, 0, 0x7f7fffffull}}},
	{.name = "Lycian"}, {.name = "Lydian"}, {.name = "M"}, {.name = "Mahajani"},
	{.name = "Makasar"}, {.name = "Malayalam"}, {.name = "Mandaic"}, {.name = "Manichaean"},
	{.name = "Marchen"}, {.name = "Masaram_Gondi"}, {.name = "Mc"}, {.name = "Me"},
	{.name = "Medefaidrin"}, {.name = "Meetei_Mayek"}, {.name = "Mende_Kikakui"},
	{.name = "Meroitic_Cursive"}, {.name = "Meroitic_Hieroglyphs"}, {.name = "Miao"},
	{.name = "Mn"}, {.name = "Modi"}, {.name = "Mongolian"}, {.name = "Mro"},
	{.name = "Multani"}, {.name = "Myanmar"},
	{"N", {{0x3ff000000000000ull, 0, 0x720c000000000000ull, 0}}},
	{.name = "Nabataean"}, {.name = "Nag_Mundari"}, {.name = "Nandinagari"},
	{"Nd", {{0x3ff000000000000ull, 0, 0, 0}}},
	{.name = "New_Tai_Lue"}, {.name = "Newa"}, {.name = "Nko"}, {.name = "Nl"},
	{"No", {{0, 0, 0x720c000000000000ull, 0}}},
	{.name = "Nushu"}, {.name = "Nyiakeng_Puachue_Hmong"}, {.name = "Ogham"},
	{.name = "Ol_Chiki"}, {.name = "Old_Hungarian"}, {.name = "Old_Italic"},
	{.name = "Old_North_Arabian"}, {.name = "Old_Permic"}, {.name = "Old_Persian"},
	{.name = "Old_Sogdian"}, {.name = "Old_South_Arabian"}, {.name = "Old_Turkic"},
	{.name = "Old_Uyghur"}, {.name = "Oriya"}, {.name = "Osage"}, {.name = "Osmanya"},
	{"P", {{0x8c00f7ee00000000ull, 0x28000000b8000001ull, 0x88c0088200000000ull, 0}}},
	{.name = "Pahawh_Hmong"}, {.name = "Palmyrene"}, {.name = "Pau_Cin_Hau"},
	{"Pc", {{0, 0x80000000ull, 0, 0}}},
	{"Pd", {{0x200000000000ull, 0, 0, 0}}},
	{"Pe", {{0x20000000000ull, 0x2000000020000000ull, 0, 0}}},
	{"Pf", {{0, 0, 0x800000000000000ull, 0}}},
	{.name = "Phags_Pa"}, {.name = "Phoenician"},
	{"Pi", {{0, 0, 0x80000000000ull, 0}}},
	{"Po", {{0x8c00d4ee00000000ull, 0x10000001ull, 0x80c0008200000000ull, 0}}},
	{"Ps", {{0x10000000000ull, 0x800000008000000ull, 0, 0}}},
	{.name = "Psalter_Pahlavi"}, {.name = "Rejang"}, {.name = "Runic"},
	{"S", {{0x7000081000000000ull, 0x5000000140000000ull, 0x113d37c00000000ull, 0x80000000800000ull}}},
	{.name = "Samaritan"}, {.name = "Saurashtra"},
	{"Sc", {{0x1000000000ull, 0, 0x3c00000000ull, 0}}},
	{.name = "Sharada"}, {.name = "Shavian"}, {.name = "Siddham"}, {.name = "SignWriting"},
	{.name = "Sinhala"},
	{"Sk", {{0, 0x140000000ull, 0x110810000000000ull, 0}}},
	{"Sm", {{0x7000080000000000ull, 0x5000000000000000ull, 0x2100000000000ull, 0x80000000800000ull}}},
	{"So", {{0, 0, 0x1424000000000ull, 0}}},
	{.name = "Sogdian"}, {.name = "Sora_Sompeng"}, {.name = "Soyombo"}, {.name = "Sundanese"},
	{.name = "Syloti_Nagri"}, {.name = "Syriac"}, {.name = "Tagalog"}, {.name = "Tagbanwa"},
	{.name = "Tai_Le"}, {.name = "Tai_Tham"}, {.name = "Tai_Viet"}, {.name = "Takri"},
	{.name = "Tamil"}, {.name = "Tangsa"}, {.name = "Tangut"}, {.name = "Telugu"},
	{.name = "Thaana"}, {.name = "Thai"}, {.name = "Tibetan"}, {.name = "Tifinagh"},
	{.name = "Tirhuta"}, {.name = "Toto"}, {.name = "Ugaritic"}, {.name = "Vai"},
	{.name = "Vithkuqi"}, {.name = "Wancho"}, {.name = "Warang_Citi"}, {.name = "Yezidi"},
	{.name = "Yi"},
	{"Z", {{0x100000000ull, 0, 0x100000000ull, 0}}},
	{.name = "Zanabazar_Square"}, {.name = "Zl"}, {.name = "Zp"},
	{"Zs", {{0x100000000ull, 0, 0x100000000ull, 0}}},
};
/* clang-format on */

bool regex_unicode(const char *name, size_t len, struct regex_set *ret)
{
	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		if (strlen(groups[i].name) == len && !memcmp(groups[i].name, name, len)) {
			*ret = groups[i].set;
			return true;
		}
	}
	return false;
}
