local files = require "gyre.files"

describe("gyre.files", function()
  local folder = os.tmpname()
  os.remove(folder)

  setup(function()
    assert.equal(0, os.execute(("mkdir '%s' && cd '%s' && mkfifo pipe && ln -s pipe link"):format(folder, folder)))
  end)
  teardown(function()
    os.remove(folder .. "/pipe")
    os.remove(folder .. "/link")
    os.remove(folder)
  end)

  it("tells what there is by a name", function()
    assert.equal("folder", files.kind(folder))
    assert.equal("device", files.kind(folder .. "/pipe"))
    assert.equal("device", files.kind(folder .. "/link"))
    assert.equal("device", files.kind "/dev/null")
    assert.equal("file", files.kind "spec/gyre/files_spec.lua")
    assert.is_nil(files.kind(folder .. "/none-yet"))
  end)

  it("tells what an output is, or will be", function()
    assert.equal("folder", files.place(folder))
    assert.equal("file", files.place(folder .. "/none-yet"))
    assert.equal("device", files.place(folder .. "/pipe"))
    assert.equal("device", files.place "/dev/null")
    assert.equal("device", files.place "/dev/stdout") -- a file, when the output of the specs goes to one
    assert.equal("file", files.place "/dev/shm/pages.jsonl")
  end)

  it("finds a path from the root on", function()
    assert.equal(folder .. "/pipe", files.absolute(folder .. "/link"))
    assert.equal("none/of/these", files.absolute "none/of/these")
  end)
end)
