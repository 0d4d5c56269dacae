/*
 * Letters and spaces of ASCII, whatever the program's locale says: what a segment holds means the same to all who have it open.
 * (In Turkish the capital of i is another letter.)
 */
#ifndef GYRE_ASCII_H
#define GYRE_ASCII_H

#include <stdbool.h>
#include <stddef.h>

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static inline char ascii_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

static inline bool ascii_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool ascii_is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

/* Leaves out the spaces around a word. */
static inline void ascii_trim(const char **word, size_t *size)
{
    while (*size && ascii_is_space(**word)) (*word)++, (*size)--;
    while (*size && ascii_is_space((*word)[*size - 1])) (*size)--;
}

/* Are the n bytes the same but for the case of letters? Ends at a NUL of either. */
static inline bool ascii_same(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ascii_lower(a[i]) != ascii_lower(b[i])) return false;
        if (!a[i]) break;
    }
    return true;
}

#endif
