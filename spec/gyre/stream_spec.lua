-- What cannot be written is told in compiled code, too, where LuaJIT's own functions tell nothing.
local ffi = require "ffi"

describe("gyre.stream", function()
  it("tells of every flush that fails", function()
    local stream = require "gyre.stream"
    ffi.cdef "void (*signal(int number, void (*handler)(int)))(int);"
    local before = ffi.C.signal(13, ffi.cast("void (*)(int)", 1)) -- SIGPIPE is ignored
    local pipe = io.popen("head -n 200 >/dev/null", "w")
    local failed, last = 0, nil
    for i = 1, 20000 do
      stream.write(pipe, "line\n")
      local flushed, why = stream.flush(pipe)
      if not flushed then
        failed, last = failed + 1, why
      end
      if failed == 0 and i % 100 == 0 then
        os.execute "sleep 0.01" -- let it read
      end
      if i > 2000 and failed == 0 then
        break
      end
    end
    pipe:close()
    ffi.C.signal(13, before)
    assert.is_true(failed > 17000)
    assert.equal("Broken pipe", last)
  end)
end)
