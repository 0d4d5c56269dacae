/*
 * argv.c: credentials on the command line. Everybody on the machine can read it in /proc, for as long as the program
 * runs; so what may be a secret is overwritten there as soon as there is a copy. That leaves a moment in which it can be
 * seen, and the shell's history: a file or stdin is the better place, and the help says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "verbs.h"

static void hide(char *from, size_t length)
{
    memset(from, '*', length);
}

/* user:password@host, with or without a scheme: what stands before the last "@". host:port:user:password: what stands behind
 * the port. A text may look like both, where an "@" is in the password. */
static void hide_proxy(char *text)
{
    char *scheme = strstr(text, "://"), *from = scheme ? scheme + 3 : text, *at = strrchr(from, '@');
    char *host = strchr(from, ':'), *end = host ? host + 1 + strspn(host + 1, "0123456789") : NULL;

    if (end && end > host + 1 && *end == ':') hide(end + 1, strlen(end + 1));
    if (at) hide(from, (size_t)(at - from));
}

static int is_number(const char *text)
{
    return *text && !text[strspn(text, "0123456789")];
}

/* Both the other way round. user:password:host:port: what stands before a host with a dot. host:port@user:password, of which what
 * stands before the "@" is hidden already: the rest, unless that is the host and the port. */
static void hide_swapped(char *text)
{
    char *port = strrchr(text, ':'), *at = strrchr(text, '@'), *host = text;
    if (text[0] == '[' || strchr(text, '/')) return;
    if (at) {
        if (!port || port < at || !is_number(port + 1) || !memchr(at, '.', (size_t)(port - at))) hide(at + 1, strlen(at + 1));
        return;
    }
    if (!port) return;
    for (char *c = text; c < port; c++)
        if (*c == ':') host = c;
    if (is_number(port + 1) && memchr(host, '.', (size_t)(port - host))) hide(text, (size_t)(host - text));
}

/* A header that identifies somebody, as a whole argument or glued to its option: -HCookie:... */
static void hide_header(char *text)
{
    static const char *const names[] = {"authorization:", "cookie:"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *name = strcasestr(text, names[i]);
        if (name) hide(name + strlen(names[i]), strlen(name + strlen(names[i])));
    }
}

/* Letters behind one dash: where a `b` among them is, or NULL. */
static char *letter_b(const char *text)
{
    return text[0] == '-' && text[1] != '-' ? strchr(text, 'b') : NULL;
}

/* The cookies of gyre get: -b TEXT, -bTEXT, --cookie TEXT, --cookie=TEXT; -b behind other letters, too. `before` is the argument
 * before it. */
static void hide_cookie(char *text, const char *before)
{
    char *b = letter_b(before);
    if ((b && !b[1]) || strcmp(before, "--cookie") == 0) hide(text, strlen(text));
    else if (strncmp(text, "--cookie=", 9) == 0) hide(text + 9, strlen(text + 9));
    else if ((b = letter_b(text))) hide(b + 1, strlen(b + 1));
}

char **gyre__cli_take_arguments(int argc, char **argv)
{
    char **copy = calloc((size_t)argc + 1, sizeof *copy);
    for (int i = 0; copy && i < argc; i++) {
        if (!(copy[i] = strdup(argv[i]))) return NULL;
        hide_proxy(argv[i]);
        hide_swapped(argv[i]);
        hide_header(argv[i]);
        if (i > 0) hide_cookie(argv[i], copy[i - 1]);
    }
    return copy;
}
