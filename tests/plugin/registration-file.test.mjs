import assert from "node:assert/strict"
import fs from "node:fs"
import path from "node:path"
import test from "node:test"

import { registrationFile } from "../../src/plugin/registration-file.js"
import { SECRET, stateDir } from "./support.mjs"

const GOOD = { url: "http://127.0.0.1:4747", secret: SECRET }

test("a file of its owner alone is believed", () => {
  assert.deepEqual(registrationFile(stateDir(GOOD)), GOOD)
  assert.deepEqual(registrationFile(stateDir(GOOD, 0o400)), GOOD)
})

test("a file that others could read or have written is refused", () => {
  for (const mode of [0o640, 0o604, 0o620, 0o602, 0o644, 0o666]) {
    assert.throws(() => registrationFile(stateDir(GOOD, mode)), /other users/, mode.toString(8))
  }
})

test("a file of another user is refused", { skip: process.getuid() !== 0 && "giving a file away takes root" }, () => {
  const directory = stateDir(GOOD)
  fs.chownSync(path.join(directory, "registration.json"), 12_345, 12_345)
  assert.throws(() => registrationFile(directory), /another user/)
})

test("a link is judged by what it leads to", () => {
  const directory = stateDir(GOOD, 0o644)
  const elsewhere = stateDir(GOOD)
  fs.rmSync(path.join(elsewhere, "registration.json"))
  fs.symlinkSync(path.join(directory, "registration.json"), path.join(elsewhere, "registration.json"))
  assert.throws(() => registrationFile(elsewhere), /other users/)
})

test("what is missing, broken or something else is refused", () => {
  const empty = stateDir(GOOD)
  fs.rmSync(path.join(empty, "registration.json"))
  assert.throws(() => registrationFile(empty))
  for (const text of ["", "{", "[]", "null", "{}", JSON.stringify({ ...GOOD, secret: "short" })]) {
    assert.throws(() => registrationFile(stateDir(text)), undefined, text)
  }
  assert.throws(() => registrationFile(stateDir({ ...GOOD, url: "https://elsewhere.example" })), /http/)
})
