/*
 * screen.c: require "gyre.screen", the terminal as a whole screen, for gyre top: { size = function() -> columns, rows,
 * enter = function() -> bool, leave = function(), read = function(most) -> text }.
 *
 * Owns the terminal's settings while a screen is shown, and gives them back on every way out of the process but SIGKILL: the
 * restore function is async-signal-safe.
 */
#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "verbs.h"

#define ENTER "\033[?1049h\033[?25l" /* the alternate screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"

static struct termios before;
static volatile sig_atomic_t shown;

static void put(const char *text, size_t size)
{
    ssize_t written = write(STDOUT_FILENO, text, size);
    (void)written; /* a terminal that is gone needs no restoring */
}

void gyre__cli_screen_restore(void)
{
    if (!shown) return;
    shown = 0;
    put(LEAVE, sizeof LEAVE - 1);
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

/* stack: - -> bool; false when stdin is no terminal. Keys come one by one and are not shown; Ctrl-C stays a signal. */
static int screen_enter(lua_State *L)
{
    struct termios keys;
    if (!shown && isatty(STDOUT_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0) {
        keys = before;
        keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        keys.c_cc[VMIN] = 0; /* a read never waits: gyre.net.readable does */
        keys.c_cc[VTIME] = 0;
        if (tcsetattr(STDIN_FILENO, TCSANOW, &keys) == 0) {
            shown = 1;
            put(ENTER, sizeof ENTER - 1);
        }
    }
    lua_pushboolean(L, shown);
    return 1;
}

/* stack: - -> - */
static int screen_leave(lua_State *L)
{
    (void)L;
    gyre__cli_screen_restore();
    return 0;
}

/* stack: - -> columns rows */
static int screen_size(lua_State *L)
{
    struct winsize size = {0};
    int known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    lua_pushinteger(L, known ? size.ws_col : 80);
    lua_pushinteger(L, known ? size.ws_row : 24);
    return 2;
}

/* Keys that have been pressed. stack: - -> text */
static int screen_read(lua_State *L)
{
    char keys[64];
    ssize_t count = read(STDIN_FILENO, keys, sizeof keys);
    lua_pushlstring(L, keys, count > 0 ? (size_t)count : 0);
    return 1;
}

int gyre__cli_screen_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"enter", screen_enter}, {"leave", screen_leave}, {"size", screen_size}, {"read", screen_read}, {NULL, NULL},
    };
    lua_newtable(L);
    for (const luaL_Reg *entry = functions; entry->name; entry++) {
        lua_pushcfunction(L, entry->func);
        lua_setfield(L, -2, entry->name);
    }
    return 1;
}
