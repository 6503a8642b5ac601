// What this terminal hears of its server: every event of its process, with the directory it is about.
//
// Terminals let plugins listen to one type of event at a time, and keep the `sync` twins of stored events and the
// project from them.

import { EVENT_TYPES } from "./event-types.js"

export class Hearing {
  #subscribe
  #types = new Set(EVENT_TYPES)
  #subscribed = new Map()
  #listeners = new Set()

  /** `subscribe(type, listener)` gives the way to unsubscribe. Nothing is listened to before somebody wants to hear. */
  constructor(subscribe) {
    this.#subscribe = subscribe
  }

  /** Calls `listener(payload, { directory })` for each event, until the function that it gives is called. */
  hear(listener) {
    this.#listeners.add(listener)
    this.#open()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size > 0) return
      for (const release of this.#subscribed.values()) release()
      this.#subscribed.clear()
    }
  }

  /** Adds types of events that this plugin was not made with. */
  learn(types) {
    for (const type of types) this.#types.add(type)
    if (this.#listeners.size > 0) this.#open()
  }

  #open() {
    const tell = (payload, at) => {
      for (const listener of this.#listeners) listener(payload, at ?? {})
    }
    for (const type of this.#types) {
      if (!this.#subscribed.has(type)) this.#subscribed.set(type, this.#subscribe(type, tell))
    }
  }
}

/** The types of events in the document with which a server describes itself. */
export function typesIn(document) {
  const schemas = document.components.schemas
  const whole = (schema) => (schema.$ref ? schemas[schema.$ref.split("/").at(-1)] : schema)
  const payloads = whole(schemas.GlobalEvent).properties.payload.anyOf.map(whole)
  const types = payloads.flatMap((payload) => payload.properties?.type?.enum ?? [])
  return types.filter((type) => type !== "sync" && type !== "server.connected")
}
