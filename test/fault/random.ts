// SPDX-License-Identifier: MIT

/** Chance that can be repeated: the same seed, the same decisions. @module */

/** A generator of decisions (sfc32 by Chris Doty-Humphrey, seeded through splitmix32). */
export class Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number) {
    let state = seed | 0
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0
      let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
      return (mixed ^ (mixed >>> 15)) | 0
    }
    this.#a = next()
    this.#b = next()
    this.#c = next()
    for (let warmUp = 0; warmUp < 12; warmUp++) this.next()
  }

  /** From 0 up to and without 1. */
  next(): number {
    const mixed = (((this.#a + this.#b) | 0) + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + mixed | 0
    return (mixed >>> 0) / 2 ** 32
  }

  /** A whole number from `min` to `max`, both included. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.integer(0, choices.length - 1)] as T
  }

  /** A generator of its own for one of many that run side by side, whose order must not matter. */
  fork(index: number): Random {
    return new Random(Math.imul(this.#a ^ Math.imul(index + 1, 0x9e3779b1), 0x85ebca6b))
  }
}
