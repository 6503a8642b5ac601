// Being known to pointsman: again and again, for as long as this process lives and whatever becomes of the daemon.

import { Daemon, Refused } from "./daemon.js"

/** A daemon that starts should know its terminals soon; asking costs one look at a file, or one refused connection. */
const FIRST = 250
const LONGEST = 4_000
/** Whoever refuses us will do so again. */
const REFUSED = 30_000
/** A terminal that closes waits no longer than this to say so. */
const GOODBYE = 300

export class Presence {
  #read
  #server
  #screen
  #known = false
  #running = Promise.resolve()
  #over = false
  #wake = () => {}

  /** `read` gives what is in the registration file, anew each time. */
  constructor({ read, server, screen }) {
    this.#read = read
    this.#server = server
    this.#screen = screen
    screen.onChange(() => {
      if (this.#known) this.#wake()
    })
  }

  /** Returns when it was ended, or when there turns out to be nothing to tell of. Never throws. */
  run() {
    this.#running = this.#goOn()
    return this.#running
  }

  async #goOn() {
    let pause = FIRST
    while (!this.#over) {
      try {
        const daemon = new Daemon(this.#read())
        await daemon.prove()
        const description = await this.#server.describe()
        if (!description || this.#over) return
        const report = this.#screen.report()
        const { id, heartbeat } = await daemon.register({ ...description, ...report })
        this.#known = true
        pause = FIRST
        await this.#keep(daemon, id, heartbeat, report)
        await daemon.remove(id)
      } catch (error) {
        // An unknown id is a daemon that has forgotten: it is told again, soon.
        const forgotten = this.#known && error instanceof Refused && error.status === 404
        pause = forgotten ? FIRST : error instanceof Refused ? REFUSED : Math.min(pause * 2, LONGEST)
      }
      this.#known = false
      await this.#sleep(pause * (0.75 + Math.random() / 2))
    }
  }

  /** Returns when it was ended. */
  async #keep(daemon, id, heartbeat, told) {
    while (!this.#over) {
      if (equal(told, this.#screen.report())) await this.#sleep(heartbeat)
      if (this.#over) return
      told = this.#screen.report()
      await daemon.heartbeat(id, told)
    }
  }

  #sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#over ? 0 : milliseconds)
      timer.unref?.()
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Says goodbye if that is quick. */
  async end() {
    this.#over = true
    this.#wake()
    const enough = new Promise((resolve) => setTimeout(resolve, GOODBYE).unref?.())
    await Promise.race([this.#running, enough])
  }
}

function equal(one, other) {
  return one.viewing === other.viewing && one.viewing_since === other.viewing_since
}
