// Where this process listens, by what the kernel says of it.

import fs from "node:fs"

const LISTENS = "0A"

/** URLs of this process's own listeners; `undefined` where the kernel does not tell. */
export function ownSockets(proc = "/proc/self") {
  try {
    const own = new Set(fs.readdirSync(`${proc}/fd`).map((name) => socket(`${proc}/fd/${name}`)))
    return ["tcp", "tcp6"].flatMap((table) => listeners(`${proc}/net/${table}`, own))
  } catch {
    return undefined
  }
}

function socket(link) {
  try {
    return /^socket:\[(\d+)\]$/.exec(fs.readlinkSync(link))?.[1]
  } catch {
    // It was closed while we looked.
    return undefined
  }
}

function listeners(table, own) {
  if (!fs.existsSync(table)) return []
  const rows = fs.readFileSync(table, "utf8").split("\n").slice(1).map((row) => row.trim().split(/\s+/))
  return rows.filter((row) => row[3] === LISTENS && own.has(row[9])).map((row) => url(...row[1].split(":")))
}

/** Four bytes of an address are one word, in the order of the machine: the first comes last. */
function url(address, port) {
  const bytes = address.match(/.{8}/g).flatMap((word) => word.match(/../g).reverse().map((byte) => parseInt(byte, 16)))
  return `http://${host(bytes)}:${parseInt(port, 16)}`
}

function host(bytes) {
  if (bytes.every((byte) => byte === 0)) return bytes.length === 4 ? "127.0.0.1" : "[::1]"
  if (bytes.length === 4) return bytes.join(".")
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[2 * at] << 8) | bytes[2 * at + 1]).toString(16))
  return `[${groups.join(":")}]`
}
