// SPDX-License-Identifier: MIT

/** A gate that holds the code under test in the middle of its work. @module */

/** A place at which the code under test waits until its test lets it go on. */
export class Gate {
  #arrive!: () => void
  #open!: () => void
  /** Resolves when somebody waits at the gate. */
  readonly arrived = new Promise<void>((resolve) => (this.#arrive = resolve))
  readonly #opened = new Promise<void>((resolve) => (this.#open = resolve))

  /** Waits until the gate is open. */
  pass(): Promise<void> {
    this.#arrive()
    return this.#opened
  }

  /** Lets everybody through, now and from now on. */
  open(): void {
    this.#open()
  }
}
