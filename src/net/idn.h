/* idn.h: names of hosts beyond ASCII, as DNS and HTTP know them. */
#ifndef GYRE_NET_IDN_H
#define GYRE_NET_IDN_H

/*
 * The URL with its host in ASCII (IDNA 2008 with the mapping of UTS 46): http://xn--bcher-kva.example/ of
 * http://b\xfccher.example/ in UTF-8. Free it. NULL: the host is ASCII already, or no name (or no memory). Pure; any locale.
 */
char *gyre__idn_url(const char *url);

#endif
