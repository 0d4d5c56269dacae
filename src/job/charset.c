/*
 * charset.c: which encoding a page is in, and out of it.
 * Owns the copies it makes. libc only, whose iconv decodes: libxml2 would stop reading at the first byte that is none of an
 * encoding, and lose the links after it.
 */
#include "charset.h"

#include <ctype.h>
#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LABEL = 40, PRESCAN = 4096 /* bytes in which a page names its encoding; the standard looks at 1024 */ };

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Labels that mean something else, mostly more, than a decoder of that name takes them for. */
static const struct {
    const char *label, *name;
} meanings[] = {
    {"utf8", "UTF-8"},           {"unicode-1-1-utf-8", "UTF-8"},  {"utf-16", "UTF-16LE"},        {"unicode", "UTF-16LE"},
    {"ascii", "CP1252"},         {"us-ascii", "CP1252"},          {"iso-8859-1", "CP1252"},      {"iso8859-1", "CP1252"},
    {"iso_8859-1", "CP1252"},    {"latin1", "CP1252"},            {"latin-1", "CP1252"},         {"l1", "CP1252"},
    {"x-cp1252", "CP1252"},      {"iso-8859-9", "CP1254"},        {"iso8859-9", "CP1254"},       {"latin5", "CP1254"},
    {"iso-8859-11", "CP874"},    {"tis-620", "CP874"},            {"windows-874", "CP874"},      {"x-cp1251", "CP1251"},
    {"gb2312", "GB18030"},       {"gb_2312-80", "GB18030"},       {"csgb2312", "GB18030"},       {"chinese", "GB18030"},
    {"gbk", "GB18030"},          {"x-gbk", "GB18030"},            {"big5", "BIG5-HKSCS"},        {"cn-big5", "BIG5-HKSCS"},
    {"x-x-big5", "BIG5-HKSCS"},  {"shift_jis", "CP932"},          {"shift-jis", "CP932"},        {"sjis", "CP932"},
    {"x-sjis", "CP932"},         {"ms_kanji", "CP932"},           {"windows-31j", "CP932"},      {"x-euc-jp", "EUC-JP"},
    {"euc-kr", "CP949"},         {"ks_c_5601-1987", "CP949"},     {"ksc5601", "CP949"},          {"korean", "CP949"},
    {"windows-949", "CP949"},    {"koi", "KOI8-R"},               {"koi8", "KOI8-R"},            {"iso-8859-8-i", "ISO-8859-8"},
};

/* How a page's bytes look as UTF-8. */
struct shape {
    size_t good, bad; /* characters beyond ASCII, and bytes that are part of none */
    int odd;          /* NUL or ESC: it may be no text that ASCII is a part of */
};

static size_t tail_of(unsigned char c)
{
    return (c & 0xe0) == 0xc0 ? 1 : (c & 0xf0) == 0xe0 ? 2 : (c & 0xf8) == 0xf0 ? 3 : 0;
}

static struct shape look(const char *page, size_t size)
{
    struct shape shape = {0};
    size_t i = 0;

    shape.odd = memchr(page, '\0', size) || memchr(page, '\033', size);
    while (i < size) {
        uint64_t eight;
        if (size - i >= sizeof eight && (memcpy(&eight, page + i, sizeof eight), !(eight & UINT64_C(0x8080808080808080)))) {
            i += sizeof eight; /* ASCII, as nearly all of most pages */
            continue;
        }
        unsigned char c = (unsigned char)page[i++];
        if (c < 0x80) continue;
        size_t tail = tail_of(c), k = 0;
        while (k < tail && i + k < size && ((unsigned char)page[i + k] & 0xc0) == 0x80) k++;
        if (tail > 0 && k == tail) {
            shape.good++;
            i += tail;
        } else {
            shape.bad++;
        }
    }
    return shape;
}

/* The label behind "charset=" or the like, in lower case: label[0] is '\0' when there is none. */
static void read_label(const char *text, size_t size, const char *name, char label[LABEL])
{
    size_t length = strlen(name), used = 0;

    label[0] = '\0';
    for (size_t i = 0; i + length < size; i++) {
        if (strncasecmp(text + i, name, length) != 0) continue;
        size_t at = i + length;
        while (at < size && isspace((unsigned char)text[at])) at++;
        if (at == size || text[at] != '=') continue;
        at++;
        while (at < size && (isspace((unsigned char)text[at]) || text[at] == '"' || text[at] == '\'')) at++;
        for (; at < size && used < LABEL - 1; at++) {
            if (!isalnum((unsigned char)text[at]) && (text[at] == '\0' || !strchr("-_.:+", text[at]))) break;
            label[used++] = (char)tolower((unsigned char)text[at]);
        }
        label[used] = '\0';
        return;
    }
}

/* What a page says in an XML declaration or in a <meta>, outside of comments. */
static void read_own_label(const char *page, size_t size, char label[LABEL])
{
    const char *end = page + (size < PRESCAN ? size : PRESCAN), *close;

    label[0] = '\0';
    for (const char *at = page; label[0] == '\0' && (at = memchr(at, '<', (size_t)(end - at))); at++) {
        size_t left = (size_t)(end - at);
        if (left >= 4 && memcmp(at, "<!--", 4) == 0) {
            if (!(at = memmem(at + 2, left - 2, "-->", 3))) return;
            continue;
        }
        if (!(close = memchr(at, '>', left))) return;
        if (left >= 6 && strncasecmp(at, "<?xml ", 6) == 0) read_label(at, (size_t)(close - at), "encoding", label);
        else if (left >= 6 && strncasecmp(at, "<meta", 5) == 0 && (isspace((unsigned char)at[5]) || at[5] == '/'))
            read_label(at, (size_t)(close - at), "charset", label);
    }
    /* What names itself in bytes of ASCII is none of these. */
    if (strncmp(label, "utf-16", 6) == 0 || strncmp(label, "utf-32", 6) == 0 || strcmp(label, "unicode") == 0)
        strcpy(label, "utf-8");
}

static iconv_t decoder(const char *label)
{
    if (label[0] == '\0') return (iconv_t)-1;
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (strcmp(meanings[i].label, label) == 0) return iconv_open("UTF-8", meanings[i].name);
    return iconv_open("UTF-8", label);
}

/* The decoder for a page that has no mark; *unit: bytes of what is passed over when it is wrong. */
static iconv_t find_decoder(const struct shape *shape, const char *page, size_t size, const char *content_type, size_t *unit)
{
    char label[LABEL] = "";
    iconv_t found;

    if (content_type) read_label(content_type, strlen(content_type), "charset", label);
    *unit = strncmp(label, "utf-16", 6) == 0 ? 2 : 1;
    if ((found = decoder(label)) != (iconv_t)-1) return found;
    *unit = 1;
    read_own_label(page, size, label);
    if ((found = decoder(label)) != (iconv_t)-1) return found;
    return iconv_open("UTF-8", shape->good > shape->bad ? "UTF-8" : "CP1252");
}

/* A copy that is being written. */
struct copy {
    char *bytes;
    size_t used, room;
};

/* Room for some bytes more. Returns 0 or -1. */
static int grow(struct copy *copy, size_t more)
{
    if (copy->room - copy->used >= more) return 0;
    size_t room = copy->room * 2 + more;
    char *bytes = realloc(copy->bytes, room);
    if (!bytes) return -1;
    copy->bytes = bytes;
    copy->room = room;
    return 0;
}

static size_t step(iconv_t from, char **in, size_t *left, struct copy *copy)
{
    char *at = copy->bytes + copy->used;
    size_t room = copy->room - copy->used, done = iconv(from, in, left, &at, &room);
    copy->used = (size_t)(at - copy->bytes);
    return done;
}

/* Returns 0, or -1: no memory. */
static int convert(iconv_t from, const char *page, size_t left, size_t unit, struct copy *copy)
{
    char *in = (char *)page; /* which iconv does not write to */

    if (grow(copy, left + left / 2 + 16) < 0) return -1;
    while (left > 0 && step(from, &in, &left, copy) == (size_t)-1) {
        if (errno == E2BIG) {
            if (grow(copy, left + 16) < 0) return -1;
            continue;
        }
        if (grow(copy, sizeof replacement) < 0) return -1;
        memcpy(copy->bytes + copy->used, replacement, sizeof replacement - 1);
        copy->used += sizeof replacement - 1;
        size_t passed = unit < left ? unit : left;
        in += passed;
        left -= passed;
    }
    if (grow(copy, 16) < 0) return -1;
    step(from, NULL, NULL, copy); /* a character that waited for one that combines with it */
    return 0;
}

static iconv_t marked(const char *page, size_t size, size_t *mark)
{
    if (size >= 3 && memcmp(page, "\xef\xbb\xbf", *mark = 3) == 0) return iconv_open("UTF-8", "UTF-8");
    if (size >= 2 && memcmp(page, "\xff\xfe", *mark = 2) == 0) return iconv_open("UTF-8", "UTF-16LE");
    if (size >= 2 && memcmp(page, "\xfe\xff", *mark = 2) == 0) return iconv_open("UTF-8", "UTF-16BE");
    *mark = 0;
    return (iconv_t)-1;
}

int gyre__charset_decode(struct gyre__text *text, const char *page, size_t size, const char *content_type)
{
    struct shape shape = look(page, size);
    struct copy copy = {0};
    size_t mark, unit;

    *text = (struct gyre__text){.bytes = page, .size = size, .ascii = shape.good + shape.bad == 0};
    if (shape.bad == 0 && (shape.good > 0 || !shape.odd)) return 0;
    iconv_t from = marked(page, size, &mark);
    unit = mark == 2 ? 2 : 1;
    if (mark == 0) from = find_decoder(&shape, page, size, content_type, &unit);
    if (from == (iconv_t)-1) return 0; /* a libc without its tables: libxml2 does what it can */
    int result = convert(from, page + mark, size - mark, unit, &copy);
    iconv_close(from);
    if (result < 0) {
        free(copy.bytes);
        return -1;
    }
    *text = (struct gyre__text){.bytes = copy.bytes, .size = copy.used, .copy = copy.bytes};
    return 0;
}

void gyre__charset_clear(struct gyre__text *text)
{
    free(text->copy);
    memset(text, 0, sizeof *text);
}
