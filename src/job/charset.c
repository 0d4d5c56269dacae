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

/* Decoders and the labels that mean them, often more than a decoder of that name takes. What is not here, such as any other of
 * the libc's decoders, which few pages need and somebody would try out, means none. */
static const struct {
    const char *name, *labels;
} decoders[] = {
    {"UTF-8", "utf-8 utf8 unicode-1-1-utf-8"},
    {"UTF-16LE", "utf-16 utf-16le unicode"},
    {"UTF-16BE", "utf-16be"},
    {"CP1252", "ascii us-ascii iso-8859-1 iso8859-1 iso_8859-1 latin1 latin-1 l1 x-cp1252 cp1252 windows-1252"},
    {"ISO-8859-2", "iso-8859-2 iso8859-2 latin2 l2"},
    {"ISO-8859-3", "iso-8859-3 latin3"},
    {"ISO-8859-4", "iso-8859-4 latin4"},
    {"ISO-8859-5", "iso-8859-5 cyrillic"},
    {"ISO-8859-6", "iso-8859-6 arabic"},
    {"ISO-8859-7", "iso-8859-7 greek"},
    {"ISO-8859-8", "iso-8859-8 iso-8859-8-i hebrew logical"},
    {"CP1254", "iso-8859-9 iso8859-9 latin5 l5 windows-1254 cp1254"},
    {"ISO-8859-10", "iso-8859-10 latin6"},
    {"CP874", "iso-8859-11 tis-620 windows-874"},
    {"ISO-8859-13", "iso-8859-13"},
    {"ISO-8859-14", "iso-8859-14"},
    {"ISO-8859-15", "iso-8859-15 iso8859-15 latin-9 l9"},
    {"ISO-8859-16", "iso-8859-16"},
    {"CP1250", "windows-1250 cp1250 x-cp1250"},
    {"CP1251", "windows-1251 cp1251 x-cp1251"},
    {"CP1253", "windows-1253 cp1253"},
    {"CP1255", "windows-1255 cp1255"},
    {"CP1256", "windows-1256 cp1256"},
    {"CP1257", "windows-1257 cp1257"},
    {"CP1258", "windows-1258 cp1258"},
    {"KOI8-R", "koi koi8 koi8-r"},
    {"KOI8-U", "koi8-u koi8-ru"},
    {"CP866", "ibm866 cp866 866"},
    {"MACINTOSH", "macintosh mac"},
    {"MAC-CYRILLIC", "x-mac-cyrillic"},
    {"GB18030", "gb18030 gb2312 gb_2312-80 csgb2312 chinese gbk x-gbk"},
    {"BIG5-HKSCS", "big5 big5-hkscs cn-big5 x-x-big5"},
    {"CP932", "shift_jis shift-jis sjis x-sjis ms_kanji windows-31j"},
    {"EUC-JP", "euc-jp x-euc-jp"},
    {"ISO-2022-JP", "iso-2022-jp"},
    {"CP949", "euc-kr ks_c_5601-1987 ksc5601 korean windows-949"},
};

/* How a page's bytes look as UTF-8. */
struct shape {
    size_t good, bad; /* characters beyond ASCII, and bytes that are part of none */
    int odd;          /* NUL or ESC: it may be no text that ASCII is a part of */
};

/* Bytes of the character that is not ASCII and begins here; 0: none does. */
static size_t character(const unsigned char *at, size_t left)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000}; /* what needs as many bytes */
    size_t tail = (at[0] & 0xe0) == 0xc0 ? 1 : (at[0] & 0xf0) == 0xe0 ? 2 : (at[0] & 0xf8) == 0xf0 ? 3 : 0;
    uint32_t code = at[0] & (0x3fu >> tail);

    if (tail == 0 || tail >= left) return 0;
    for (size_t k = 1; k <= tail; k++) {
        if ((at[k] & 0xc0) != 0x80) return 0;
        code = code << 6 | (at[k] & 0x3f);
    }
    return code < least[tail] || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff ? 0 : tail + 1;
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
        const unsigned char *at = (const unsigned char *)page + i;
        size_t bytes = *at < 0x80 ? 1 : character(at, size - i);
        shape.good += bytes > 1;
        shape.bad += bytes == 0;
        i += bytes ? bytes : 1;
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

/* The decoder that a label means; NULL: none. */
static const char *decoder(const char *label)
{
    size_t size = strlen(label);
    for (size_t i = 0; size > 0 && i < sizeof decoders / sizeof *decoders; i++)
        for (const char *at = decoders[i].labels, *end; *at; at = end + (*end == ' ')) {
            end = at + strcspn(at, " ");
            if ((size_t)(end - at) == size && memcmp(at, label, size) == 0) return decoders[i].name;
        }
    return NULL;
}

/* What a page begins with; *mark: its bytes. */
static const char *marked(const char *page, size_t size, size_t *mark)
{
    if (size >= 3 && memcmp(page, "\xef\xbb\xbf", *mark = 3) == 0) return "UTF-8";
    if (size >= 2 && memcmp(page, "\xff\xfe", *mark = 2) == 0) return "UTF-16LE";
    if (size >= 2 && memcmp(page, "\xfe\xff", *mark = 2) == 0) return "UTF-16BE";
    *mark = 0;
    return NULL;
}

/* The decoder for a page that has no mark. */
static const char *find_decoder(const struct shape *shape, const char *page, size_t size, const char *content_type)
{
    char label[LABEL] = "";
    const char *found;

    if (content_type) read_label(content_type, strlen(content_type), "charset", label);
    if ((found = decoder(label))) return found;
    read_own_label(page, size, label);
    if ((found = decoder(label))) return found;
    return shape->good > shape->bad ? "UTF-8" : "CP1252";
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

/* Returns 0 or -1. */
static int append(struct copy *copy, const char *bytes, size_t size)
{
    if (size == 0) return 0;
    if (grow(copy, size) < 0) return -1;
    memcpy(copy->bytes + copy->used, bytes, size);
    copy->used += size;
    return 0;
}

static size_t step(iconv_t from, char **in, size_t *left, struct copy *copy)
{
    char *at = copy->bytes + copy->used;
    size_t room = copy->room - copy->used, done = iconv(from, in, left, &at, &room);
    copy->used = (size_t)(at - copy->bytes);
    return done;
}

/* The text becomes the copy. */
static void take(struct gyre__text *text, const struct copy *copy)
{
    free(text->copy);
    *text = (struct gyre__text){.bytes = copy->bytes, .size = copy->used, .copy = copy->bytes};
}

/* By iconv; of what it cannot decode, `unit` bytes are passed over. Returns 0, or -1: no memory. */
static int convert(iconv_t from, const char *page, size_t left, size_t unit, struct copy *copy)
{
    char *in = (char *)page; /* which iconv does not write to */

    if (grow(copy, left + left / 2 + 16) < 0) return -1;
    while (left > 0 && step(from, &in, &left, copy) == (size_t)-1) {
        if (errno == E2BIG) {
            if (grow(copy, left + 16) < 0) return -1;
            continue;
        }
        if (append(copy, replacement, sizeof replacement - 1) < 0) return -1;
        size_t passed = unit < left ? unit : left;
        in += passed;
        left -= passed;
    }
    if (grow(copy, 16) < 0) return -1;
    step(from, NULL, NULL, copy); /* a character that waited for one that combines with it */
    return 0;
}

/* Returns 0, or -1: no memory. */
static int decode(struct gyre__text *text, const struct shape *shape, const char *content_type)
{
    size_t mark;
    const char *name = marked(text->bytes, text->size, &mark);
    struct copy copy = {0};
    iconv_t from;

    if (!name) name = find_decoder(shape, text->bytes, text->size, content_type);
    if (strcmp(name, "UTF-8") == 0 || (from = iconv_open("UTF-8", name)) == (iconv_t)-1) return 0;
    int result = convert(from, text->bytes + mark, text->size - mark, strncmp(name, "UTF-16", 6) == 0 ? 2 : 1, &copy);
    iconv_close(from);
    if (result < 0) free(copy.bytes);
    else take(text, &copy);
    return result;
}

/* What is no UTF-8 becomes U+FFFD, a NUL as well, as in HTML: libxml2 would take it for the end. A text without any stays as it
 * is. Returns 0, or -1: no memory. */
static int repair(struct gyre__text *text)
{
    const unsigned char *from = (const unsigned char *)text->bytes, *end = from + text->size, *good = from;
    struct copy copy = {0};
    int result = 0;

    while (from < end && result == 0) {
        size_t bytes = *from == 0 ? 0 : *from < 0x80 ? 1 : character(from, (size_t)(end - from));
        if (bytes == 0) {
            result = append(&copy, (const char *)good, (size_t)(from - good)) | append(&copy, replacement, sizeof replacement - 1);
            good = from + 1;
        }
        from += bytes ? bytes : 1;
    }
    if (result == 0 && !copy.bytes) return 0;
    if (result == 0) result = append(&copy, (const char *)good, (size_t)(end - good));
    if (result < 0) free(copy.bytes);
    else take(text, &copy);
    return result;
}

int gyre__charset_decode(struct gyre__text *text, const char *page, size_t size, const char *content_type)
{
    struct shape shape = look(page, size);
    int result = 0;

    *text = (struct gyre__text){.bytes = page, .size = size};
    if (shape.bad > 0 || (shape.good == 0 && shape.odd)) result = decode(text, &shape, content_type);
    if (result == 0 && (shape.bad > 0 || shape.odd)) result = repair(text);
    if (result < 0) gyre__charset_clear(text);
    return result;
}

void gyre__charset_clear(struct gyre__text *text)
{
    free(text->copy);
    memset(text, 0, sizeof *text);
}
