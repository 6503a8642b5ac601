// The file in which a pointsman tells its own user's programs where it is, and what proves it.

import fs from "node:fs"
import path from "node:path"

/** The one protocol this plugin speaks. */
export const PROTOCOL = 1

const NAME = "registration.json"
const OTHERS = 0o077
/** Three short fields. */
const MOST = 4096

/** `{ url, secret }`. Throws for a file that is missing, not its owner's alone, or not what it should be. */
export function registrationFile(stateDir) {
  const file = fs.openSync(path.join(stateDir, NAME), "r")
  try {
    // The opened file is looked at, not the name: what a name means can change in between.
    refuse(fs.fstatSync(file))
    const text = Buffer.alloc(MOST)
    return understood(JSON.parse(text.toString("utf8", 0, fs.readSync(file, text, 0, MOST, 0))))
  } finally {
    fs.closeSync(file)
  }
}

function refuse(found) {
  if (!found.isFile()) throw new Error("it is no file")
  // Where there are no owners and no such bits, the user's profile is private by inheritance.
  if (typeof process.getuid !== "function") return
  if (found.uid !== process.getuid()) throw new Error("it belongs to another user")
  if ((found.mode & OTHERS) !== 0) throw new Error("other users can use it")
}

function understood({ url, secret }) {
  if (new URL(url).protocol !== "http:") throw new Error("it names no http:// URL")
  if (!/^[0-9a-f]{64}$/.test(secret)) throw new Error("it holds no secret")
  return { url, secret }
}
