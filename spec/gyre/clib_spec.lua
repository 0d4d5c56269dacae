-- The loader, in processes of its own: this one has loaded the library already.
local cdef = require "gyre.cdef"
local ffi = require "ffi"

local lua_path = "lua/?.lua;lua/?/init.lua;;"

-- Output of `luajit -e chunk` under other environment variables.
local function run(variables, chunk)
  local command = ("env -u GYRE_LIB LUA_PATH='%s' %s luajit -e '%s' 2>&1"):format(lua_path, variables, chunk)
  local pipe = assert(io.popen(command))
  local output = pipe:read "*a"
  pipe:close()
  return output
end

local REQUIRE = [[local ok, err = pcall(require, "gyre") print(ok, not ok and err.kind) print(err)]]

-- A library that calls itself libgyre; nil without a C compiler.
local function build(source)
  local path = os.tmpname()
  local pipe = assert(io.popen(("cc -shared -fPIC -x c -o %s - 2>/dev/null"):format(path), "w"))
  pipe:write(source)
  pipe:close()
  return path
end

describe("gyre.clib", function()
  it("fails with every path it tried", function()
    local output = run("LUA_CPATH='/nonexistent/?.so;/also/nonexistent/?.so'", REQUIRE)
    assert.matches("^false\tsystem\n", output)
    for _, tried in ipairs { "GYRE_LIB: not set", "the program itself: no symbol gyre_abi",
      "/nonexistent/libgyre.so: no such file", "/also/nonexistent/libgyre.so: no such file", "gyre: " } do
      assert.is_truthy(output:find(tried, 1, true), tried .. " not in " .. output)
    end
  end)

  it("takes GYRE_LIB at its word", function()
    local output = run("GYRE_LIB=/nonexistent/libgyre.so LUA_CPATH=build/release/?.so", REQUIRE)
    assert.matches("^false\tsystem\n", output)
    assert.matches("GYRE_LIB=/nonexistent/libgyre.so", output)
  end)

  it("finds the library on package.cpath", function()
    local library = os.getenv "GYRE_LIB" or "build/release/libgyre.so"
    local directory = library:match "^(.*)/"
    local output = run(("LUA_CPATH='/nonexistent/?.so;%s/?.so'"):format(directory), REQUIRE)
    assert.matches("^true\tfalse\n", output)
  end)

  it("refuses another library, another ABI and other struct sizes", function()
    local found = {
      ["int something;"] = "is not libgyre",
      ["int gyre_abi(void) { return 999; }"] = "libgyre has ABI 999, the Lua module was written for " .. cdef.abi,
      [("int gyre_abi(void) { return %d; } int gyre_struct_size(const char *n) { return 8; }"):format(cdef.abi)] =
        "struct gyre_options has 8 bytes in libgyre, " .. ffi.sizeof "struct gyre_options",
    }
    for source, message in pairs(found) do
      local path = build(source)
      local output = run("GYRE_LIB=" .. path, REQUIRE)
      os.remove(path)
      assert.matches("^false\tabi\n", output)
      assert.is_truthy(output:find(message, 1, true), output)
    end
  end)

  it("compares every struct of the header", function()
    assert.is_true(#cdef.structs >= 9)
    for _, name in ipairs(cdef.structs) do
      assert.is_true(ffi.sizeof("struct gyre_" .. name) > 0)
    end
  end)
end)
