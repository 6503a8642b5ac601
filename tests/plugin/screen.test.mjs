import assert from "node:assert/strict"
import test from "node:test"

import { Screen } from "../../src/plugin/screen.js"

test("the time is that of the move, or of what the user last sent from here", () => {
  let now = 1000
  const screen = new Screen({}, () => now)
  let changes = 0
  screen.onChange(() => (changes += 1))
  assert.deepEqual(screen.report(), {})
  screen.show(null)
  assert.deepEqual(screen.report(), { viewing: null, viewing_since: 1000 })
  now = 2000
  screen.show("ses_1")
  now = 3000
  screen.show("ses_1")
  assert.deepEqual([screen.report(), changes], [{ viewing: "ses_1", viewing_since: 2000 }, 2])
  now = 4000
  screen.send("GET", "http://opencode.internal/session/ses_1/message?limit=1")
  screen.send("POST", "http://opencode.internal/session/ses_2/message")
  screen.send("POST", "http://opencode.internal/session/ses_1/abort")
  assert.deepEqual([screen.report().viewing_since, changes], [2000, 2])
  for (const word of ["message", "prompt_async?directory=%2Fx", "command", "shell"]) {
    now += 1000
    screen.send("POST", `http://opencode.internal/session/ses_1/${word}`)
    assert.equal(screen.report().viewing_since, now, word)
  }
  screen.show(null)
  assert.equal(screen.report().viewing, null)
})
