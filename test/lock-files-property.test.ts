// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { LockFiles } from '../lib/lock-files/lock-files.ts'
import { LockLedger } from './support/lock-ledger.ts'
import { stopClock } from './support/clock.ts'
import { startLockProcess } from './support/lock-process.ts'
import { temporaryFolder } from './support/temporary.ts'

/** `LOCK_RUNS=2000` is a campaign of some minutes. */
const RUNS = Number(process.env['LOCK_RUNS'] ?? 30)
const KEYS = ['a', 'b']

/** What one member does with one key: waits for it or asks for it, stays in its section, and leaves. */
interface Stay {
  /** Resolves when it is in the section, or with false if it does not get the key. */
  readonly entered: Promise<boolean>
  readonly leave: () => void
  readonly left: Promise<void>
}

/** One that fights for keys: a `LockFiles` of this process, or one in a process of its own. */
interface Member {
  readonly stay: (manner: 'acquire' | 'try', key: string) => Stay
  readonly pass: (ms: number) => void
}

type Step =
  | { readonly kind: 'acquire' | 'try'; readonly member: number; readonly key: string }
  | { readonly kind: 'leave'; readonly which: number }
  | { readonly kind: 'turns'; readonly count: number }
  | { readonly kind: 'pass'; readonly ms: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('acquire' as const), member: fc.nat(3), key: fc.constantFrom(...KEYS) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('try' as const), member: fc.nat(3), key: fc.constantFrom(...KEYS) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('leave' as const), which: fc.nat(5) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 30 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(60, 600, 1100, 11_000) }) },
)

test('in and between processes: never two holders, nobody forgotten, and no tenure that outlives its link', async (t) => {
  const folder = temporaryFolder(t)
  const directory = join(folder, 'locks')
  const marks = join(folder, 'marks')
  mkdirSync(marks)
  const faults: string[] = []
  const onFault = (fault: string): void => void faults.push(fault)
  const here = [await LockFiles.open(directory), await LockFiles.open(directory)]
  t.after(() => Promise.all(here.map((locks) => locks.close())))
  const passHere = stopClock(t)
  const ledgers = here.map((_, index) => new LockLedger({ directory, marks, name: `here-${index}`, onFault }))
  const members = [
    ...here.map((locks, index) => ({ stay: memberHere(locks, ledgers[index]!), pass: passHere })),
    await memberElsewhere(t, { directory, marks, onFault }),
    await memberElsewhere(t, { directory, marks, onFault }),
  ]
  let stays = 0

  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
      const inside: Stay[] = []
      const all: Stay[] = []
      let ending = false
      for (const { pass } of members.slice(1)) pass(11_000) // whatever was of no use in the last run lingers in this one
      for (const step of steps) {
        if (step.kind === 'turns') for (let round = 0; round < step.count; round++) await turn()
        else if (step.kind === 'pass') for (const { pass } of members.slice(1)) pass(step.ms)
        else if (step.kind === 'leave') inside.splice(step.which % Math.max(inside.length, 1), 1)[0]?.leave()
        else {
          const stay = members[step.member]!.stay(step.kind, step.key)
          all.push(stay)
          void stay.entered.then((entered) => {
            if (ending) stay.leave()
            else if (entered) inside.push(stay)
          })
        }
        for (const ledger of ledgers) ledger.audit()
      }
      ending = true
      for (const stay of inside) stay.leave()
      await Promise.all(all.map(({ left }) => left))
      stays += all.length
      for (const ledger of ledgers) ledger.audit()
      assert.deepEqual(faults, [])
    }),
    { numRuns: RUNS, endOnFailure: true },
  )
  const continued = ledgers.map(({ sections, continued }) => `${continued} of ${sections}`).join(' and ')
  t.diagnostic(`${RUNS} runs, ${stays} claims; here ${continued} sections were in the tenure of the one before`)
  const all = KEYS.flatMap((key) => members.map(({ stay }) => stay('acquire', key)))
  for (const { entered, leave } of all) void entered.then(leave)
  await Promise.all(all.map(({ left }) => left))
  assert.deepEqual(faults, [])
})

function memberHere(locks: LockFiles, ledger: LockLedger): Member['stay'] {
  return (manner, key) => {
    const [entered, wait] = [deferred<boolean>(), deferred<void>()]
    const stay = async (): Promise<void> => {
      const hold = manner === 'try' ? await locks.tryAcquire(key) : await locks.acquire(key)
      if (!hold) return entered.resolve(false)
      await ledger.section(key, hold, () => {
        entered.resolve(true)
        return wait.promise
      })
      await hold.release()
    }
    return { entered: entered.promise, leave: () => wait.resolve(), left: stay() }
  }
}

interface Elsewhere {
  readonly directory: string
  readonly marks: string
  readonly onFault: (fault: string) => void
}

async function memberElsewhere(t: TestContext, { directory, marks, onFault }: Elsewhere): Promise<Member> {
  const member = startLockProcess(t, 'member', [directory, marks])
  assert.equal(await member.said(), 'open')
  const waiting = new Map<string, { entered: (entered: boolean) => void; left: () => void }>()
  member.process.on('message', (line: string) => {
    if (line.startsWith('fault ')) return onFault(line.slice(6))
    const [number = '', what] = line.split(' ')
    const stay = waiting.get(number)
    if (what !== 'out') stay?.entered(what === 'in')
    if (what !== 'in') stay?.left()
  })
  let last = 0
  const stay: Member['stay'] = (manner, key) => {
    const number = String((last += 1))
    const [entered, left] = [deferred<boolean>(), deferred<void>()]
    waiting.set(number, { entered: entered.resolve, left: () => left.resolve() })
    member.tell(`${manner} ${key} ${number}`)
    return { entered: entered.promise, leave: () => member.tell(`release ${key} ${number}`), left: left.promise }
  }
  return { stay, pass: (ms) => member.tell(`pass ${ms} 0`) }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function deferred<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve!: (value: T) => void
  const promise = new Promise<T>((settle) => (resolve = settle))
  return { promise, resolve }
}
