// The generated clients of `@opencode-ai/sdk`, both versions, and the events that they subscribe to.
import { createOpencodeClient as first } from '@opencode-ai/sdk/client'
import { createOpencodeClient as second } from '@opencode-ai/sdk/v2/client'
import { answerLines } from './lines.mjs'

const [baseUrl, patience] = process.argv.slice(2)
const clients = { v1: first({ baseUrl }), v2: second({ baseUrl }) }

/** `client.session.list(…)` for `session.list`. */
const run = ({ client, method, parameters = [] }) => {
  const names = method.split('.')
  const last = names.pop()
  const holder = names.reduce((object, name) => object[name], clients[client])
  return holder[last](...parameters)
}

const streams = new Map()

/** Keeps the events of a stream, and tells who waits for one. */
class Kept {
  events = []
  waiting = new Set()

  async read(stream) {
    for await (const event of stream) {
      this.events.push(JSON.stringify(event))
      for (const look of this.waiting) look()
    }
  }

  find(words) {
    return this.events.find((event) => words.every((word) => event.includes(word)))
  }

  expect(words) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.find(words)
        if (found === undefined) return
        clearTimeout(limit)
        this.waiting.delete(look)
        resolve(JSON.parse(found))
      }
      const limit = setTimeout(
        () => reject(new Error(`no event with ${words} among\n${this.events.join('\n')}`)),
        Number(patience),
      )
      this.waiting.add(look)
      look()
    })
  }
}

await answerLines({
  call: async (request) => {
    const { data, error, response } = await run(request)
    return { status: response.status, data: data ?? null, error: error ?? null }
  },
  /** Opens a stream under a name, and waits for its greeting unless it has none. */
  subscribe: async (request) => {
    const { stream } = await run(request)
    const kept = new Kept()
    streams.set(request.name, kept)
    kept.read(stream).catch((error) => console.error(`${request.name}: ${error}`))
    if (request.greets) await kept.expect(['server.connected'])
  },
  /** The first event that contains all these words. */
  expect: async ({ name, words }) => streams.get(name).expect(words),
})
process.exit()
