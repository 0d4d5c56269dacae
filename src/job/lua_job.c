/*
 * lua_job.c: require "gyre.html", a function (page, base_url, content_type | nil) -> { title =, links = { ... },
 * base = the href of <base> }, and
 * require "gyre.terminal", { is_terminal = function(fd) -> bool, columns = function(fd) -> number }.
 */
#include "lua_job.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "html.h"

/* __gc: what was collected lives in a userdata, so that an error of Lua's on the way leaks nothing. */
static int html_gc(lua_State *L)
{
    gyre__html_clear(lua_touserdata(L, 1));
    return 0;
}

/* stack: ... -> ... links, each once */
static void push_links(lua_State *L, const struct gyre__html *html)
{
    int kept = 0;

    lua_createtable(L, (int)html->link_count, 0); /* stack: ... links */
    lua_newtable(L);                              /* stack: ... links seen */
    for (size_t i = 0; i < html->link_count; i++) {
        lua_pushstring(L, html->links[i]); /* stack: ... links seen url */
        lua_pushvalue(L, -1);
        lua_rawget(L, -3); /* stack: ... links seen url known */
        int known = lua_toboolean(L, -1);
        lua_pop(L, 1);
        if (known) {
            lua_pop(L, 1);
            continue;
        }
        lua_pushvalue(L, -1);
        lua_rawseti(L, -4, ++kept); /* stack: ... links seen url */
        lua_pushboolean(L, 1);
        lua_rawset(L, -3); /* stack: ... links seen */
    }
    lua_pop(L, 1);
}

/* stack: ... -> ... html, empty */
static struct gyre__html *push_html(lua_State *L)
{
    struct gyre__html *html = lua_newuserdata(L, sizeof *html);
    memset(html, 0, sizeof *html);
    luaL_getmetatable(L, "gyre.html");
    lua_setmetatable(L, -2);
    return html;
}

/* stack: ... html -> ... { title =, links =, base = } */
static int push_found(lua_State *L, struct gyre__html *html, int result)
{
    if (result < 0) return luaL_error(L, "not enough memory");
    lua_createtable(L, 0, 3); /* stack: ... html result */
    if (html->title) {
        lua_pushstring(L, html->title);
        lua_setfield(L, -2, "title");
    }
    if (html->base) {
        lua_pushstring(L, html->base);
        lua_setfield(L, -2, "base");
    }
    push_links(L, html);
    lua_setfield(L, -2, "links");
    gyre__html_clear(html);
    lua_remove(L, -2);
    return 1;
}

/* stack: page base_url content_type -> { title =, links = } */
static int html(lua_State *L)
{
    size_t size;
    const char *page = luaL_checklstring(L, 1, &size);
    const char *base_url = luaL_checkstring(L, 2);
    const char *content_type = luaL_optstring(L, 3, NULL);
    struct gyre__html *found = push_html(L);
    return push_found(L, found, gyre__html_parse(found, page, size, content_type, base_url));
}

int gyre__job_push_html(lua_State *L, const struct _xmlDoc *tree, const char *base_url)
{
    struct gyre__html *found = push_html(L);
    return push_found(L, found, gyre__html_read(found, tree, base_url));
}

/* stack: name -> html */
static int open_html(lua_State *L)
{
    luaL_newmetatable(L, "gyre.html");
    lua_pushcfunction(L, html_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, html);
    return 1;
}

/* stack: fd -> bool */
static int is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* stack: fd -> number of columns, 80 when it is not known */
static int columns(lua_State *L)
{
    struct winsize size = {0};
    int known = ioctl((int)luaL_checkinteger(L, 1), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    lua_pushinteger(L, known ? size.ws_col : 80);
    return 1;
}

/* stack: name -> module */
static int open_terminal(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, is_terminal);
    lua_setfield(L, -2, "is_terminal");
    lua_pushcfunction(L, columns);
    lua_setfield(L, -2, "columns");
    return 1;
}

int gyre__job_open(struct gyre_host *host)
{
    static const struct {
        const char *name;
        lua_CFunction open;
    } modules[] = {
        {"gyre.html", open_html},          {"gyre.terminal", open_terminal}, {"gyre.frontier", gyre__job_open_frontier},
        {"gyre.url", gyre__job_open_url},  {"gyre.gate", gyre__job_open_gate}, {"gyre.xpath", gyre__job_open_xpath},
    };

    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (gyre_host_preload(host, modules[i].name, modules[i].open) < 0) return GYRE_ESYSTEM;
    return 0;
}
