/* lua_job.h: the native half of what jobs use. */
#ifndef GYRE_JOB_LUA_JOB_H
#define GYRE_JOB_LUA_JOB_H

#include "host/host.h"

/* Makes require "gyre.html", "gyre.terminal" and the modules below work. Returns 0 or GYRE_ESYSTEM. */
int gyre__job_open(struct gyre_host *host);

struct _xmlDoc;

/* What the function gyre.html returns, of a page's tree. stack: ... -> ... { title =, links = } */
int gyre__job_push_html(lua_State *L, const struct _xmlDoc *tree, const char *base_url);

/* The lua_CFunctions behind require "gyre.frontier", "gyre.url", "gyre.gate" and "gyre.xpath". */
int gyre__job_open_frontier(lua_State *L);
int gyre__job_open_url(lua_State *L);
int gyre__job_open_gate(lua_State *L);
int gyre__job_open_xpath(lua_State *L);

#endif
