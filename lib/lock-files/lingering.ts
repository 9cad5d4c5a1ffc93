// SPDX-License-Identifier: MIT

/**
 * Links that nobody holds any more, and that stay for a moment in case this process wants them
 * again.
 *
 * A client sends one request after the other, mostly to the same process. To remove the link after
 * each request and to make it again for the next would cost more than the request itself. So
 * a link that was released stays, and the next claim of this process costs nothing. To others it is
 * a link like that of a holder. If they ask for it, it is removed at once.
 *
 * Where clients alternate between processes, that is a detour: the next process has to ask before
 * it finds the key free. It shows when somebody asks for a link after its first hold, before it has
 * saved anything. Then for ten seconds no link lingers.
 *
 * Part of the folder `lock-files`, which is self-contained.
 *
 * @module
 */

/** What lingers: a line, without claims and with its link. */
interface Lingerer {
  /** Removes the link. */
  letGo(): void
}

/** A process that is stopped blocks so many keys besides those that it holds. */
const MAX_LINKS = 256

/** A link lingers for one of these periods at least, and for two at most. */
const PERIOD_MS = 500

/** How long nothing lingers after it has proved to be a detour. */
const PAUSE_MS = 10_000

/** The lines of this process whose links linger. */
export class Lingering {
  /** With the number of the period in which each was added; the oldest comes first. */
  readonly #lines = new Map<Lingerer, number>()
  #period = 0
  /** One for all. It does not keep the process alive. */
  #timer: NodeJS.Timeout | undefined
  #pausedUntilMs = Infinity

  /** Until now nothing lingers. */
  open(): void {
    this.#pausedUntilMs = -Infinity
  }

  /** Has a line linger, for a second at most. False if it has to let go at once. */
  add(line: Lingerer): boolean {
    if (performance.now() < this.#pausedUntilMs) return false
    this.#lines.set(line, this.#period)
    if (this.#lines.size > MAX_LINKS) this.#letGoOfOldest()
    this.#timer ??= setTimeout(() => this.#endPeriod(), PERIOD_MS).unref()
    return true
  }

  /** Takes out a line that is wanted again, or that lets go for another reason. */
  remove(line: Lingerer): void {
    this.#lines.delete(line)
  }

  /** Ends the lingering of all lines. */
  letGo(): void {
    while (this.#lines.size > 0) this.#letGoOfOldest()
  }

  /** Ends it, and for ten seconds nothing lingers. */
  pause(): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, performance.now() + PAUSE_MS)
    this.letGo()
  }

  /** Ends it for good. */
  close(): void {
    clearTimeout(this.#timer)
    this.#pausedUntilMs = Infinity
    this.letGo()
  }

  /** It counts periods and reads no clock: after a stop of the process, a line is not older. */
  #endPeriod(): void {
    this.#timer = undefined
    for (const period of this.#lines.values()) {
      if (period === this.#period) break
      this.#letGoOfOldest()
    }
    this.#period += 1
    if (this.#lines.size > 0) this.#timer = setTimeout(() => this.#endPeriod(), PERIOD_MS).unref()
  }

  #letGoOfOldest(): void {
    const [line] = this.#lines.keys()
    if (!line) return
    this.#lines.delete(line)
    line.letGo()
  }
}
