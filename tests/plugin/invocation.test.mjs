import assert from "node:assert/strict"
import test from "node:test"

import { decide, withoutScreen } from "../../src/plugin/invocation.js"

test("terminals and attached terminals are our business, and nothing else is", () => {
  for (const [line, role] of [
    ["", "tui"],
    ["/home/ann/shop", "tui"],
    ["-s ses_1", "tui"],
    ["--prompt serve", "tui"],
    ["--port 0", "tui"],
    ["--continue --fork ../shop", "tui"],
    ["--model=a/b models-of-ships", "tui"],
    ["attach http://127.0.0.1:4096", "attach"],
    ["--print-logs attach http://127.0.0.1:4096", "attach"],
    ["--log-level DEBUG attach http://127.0.0.1:4096", "attach"],
    ["models", null],
    ["session list", null],
    ["mcp list", null],
    ["agent list", null],
    ["export ses_1", null],
    ["serve --port 4096", null],
    ["--mdns true web", null],
    ["--print-logs run say hello", null],
    ["acp", null],
    ["-- models", null],
  ]) {
    assert.equal(decide(line.split(" ").filter(Boolean)), role, line)
  }
})

test("commands with a server and no screen are told apart from all others", () => {
  for (const [line, kind] of [
    ["run say hello", "run"],
    ["--print-logs run hello", "run"],
    ["run --format json hello", "run"],
    ["run --attach http://127.0.0.1:4096 hello", null],
    ["run --attach=http://127.0.0.1:4096 hello", null],
    ["serve --port 0", "serve"],
    ["web", "web"],
    ["acp --cwd /home/ann", "acp"],
    ["", null],
    ["--prompt run", null],
    ["/home/ann/run", null],
    ["attach http://127.0.0.1:4096", null],
    ["models", null],
    ["session list", null],
    ["mcp list", null],
    ["export ses_1", null],
  ]) {
    assert.equal(withoutScreen(line.split(" ").filter(Boolean)), kind, line)
  }
})
