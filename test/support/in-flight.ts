// SPDX-License-Identifier: MIT

/** The requests that a server under test has begun. @module */

/** Waits for requests: for their answers and for all of their storing. */
export class InFlight {
  readonly #requests = new Set<Promise<void>>()

  /** Counts a request until what its handler returned settles. */
  add(request: Promise<void>): void {
    this.#requests.add(request)
    void request.finally(() => this.#requests.delete(request))
  }

  /** Resolves when no request is left, those that begin meanwhile included. */
  async settled(): Promise<void> {
    while (this.#requests.size > 0) await Promise.all(this.#requests)
  }
}
