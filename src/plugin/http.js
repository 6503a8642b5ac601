// One small request over a socket of our own.
//
// Bun's `fetch` and `node:http` send even loopback requests through the proxy that the environment names, which
// would be handed the secret.

import net from "node:net"

const PATIENCE = 15_000
/** Answers to registrations are short; whoever sends more is no pointsman. */
const MOST = 1 << 20

/** Gives `{ status, text }`. Throws when nobody answers in time, or with something else than HTTP. */
export function ask(method, url, headers, body) {
  const { hostname, port, host, pathname } = new URL(url)
  const text = body === undefined ? "" : JSON.stringify(body)
  const head = [
    `${method} ${pathname} HTTP/1.0`,
    `Host: ${host}`,
    "Connection: close",
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(text)}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 80) })
    socket.unref?.()
    const deadline = setTimeout(() => socket.destroy(new Error("it does not answer")), PATIENCE)
    deadline.unref?.()
    const chunks = []
    let length = 0
    socket.on("connect", () => socket.write(`${head.join("\r\n")}\r\n\r\n${text}`))
    socket.on("data", (chunk) => {
      chunks.push(chunk)
      length += chunk.length
      if (length > MOST) socket.destroy(new Error("it answers too much"))
    })
    socket.on("error", reject)
    socket.on("close", () => {
      clearTimeout(deadline)
      try {
        resolve(answer(Buffer.concat(chunks).toString("utf8")))
      } catch (error) {
        reject(error)
      }
    })
  })
}

/** Reads an answer to HTTP/1.0: whole, not chunked, ended by the end of the connection. */
function answer(received) {
  const end = received.indexOf("\r\n\r\n")
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(received)
  if (end < 0 || !status) throw new Error("it does not speak HTTP")
  return { status: Number(status[1]), text: received.slice(end + 4) }
}
