// SPDX-License-Identifier: MIT

/**
 * One to three programs on one directory, clients that fight for the same uploads through all of them,
 * and an operator who kills, stops and forces whichever program he likes, whenever he likes.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { temporaryFolder } from '../support/temporary.ts'
import { campaign } from './campaign.ts'
import { Ledger } from './ledger.ts'
import { finish, RestlessClient } from './process-client.ts'
import { assertSettles, holdingsAtRest } from './process-holdings.ts'
import type { Random } from './random.ts'
import { compileLibrary, locksIn, MAX_PROGRAMS, Subject, type Exit } from './subject.ts'

type Fault = 'SIGKILL' | 'SIGTERM' | 'SIGTERM and SIGINT'
type Program = Subject & { readonly port: number }

/** What an era brings, in an order that chance decides. */
const FAULTS: readonly Fault[] = ['SIGKILL', 'SIGTERM', 'SIGKILL', 'SIGTERM and SIGINT', 'SIGKILL', 'SIGKILL', 'SIGTERM', 'SIGKILL']
const SYNCS = ['none', 'finish', 'append'] as const
const UPLOADS = 4
const CLIENTS_EACH = 2
const MAX_BYTES = 6 * 1024 * 1024
/** The longest time between two faults, and between two signals, in milliseconds. */
const MAX_PEACE_MS = 500
const MAX_PATIENCE_MS = 60

/** What a kind of fault has put at stake: bytes that were acknowledged since the fault before it. */
interface Stake {
  rounds: number
  acknowledgedBytes: number
  lostBytes: number
}

campaign(
  'programs that are killed, stopped and forced under load lose and mix up nothing',
  { short: 16, long: 320 },
  async ({ t, random, rounds, report }) => {
    const dist = await compileLibrary()
    const stakes = new Map<Fault, Stake>()
    const statuses = new Map<number, number>()
    for (let done = 0, era = 0; done < rounds; done += FAULTS.length, era++) {
      await runEra(t, {
        dist, stakes, statuses,
        random: random.fork(era),
        faults: shuffle(FAULTS.slice(0, rounds - done), random),
        programs: 1 + (era % MAX_PROGRAMS),
        sync: SYNCS[(era + Math.floor(era / MAX_PROGRAMS)) % SYNCS.length]!,
      })
    }
    t.diagnostic(`answers: ${Array.from(statuses, ([status, count]) => `${status || 'cut'} ${count}`).join(', ')}`)
    for (const [fault, stake] of stakes) report({ fault, ...stake })
  },
)

interface Era {
  readonly dist: string
  readonly stakes: Map<Fault, Stake>
  readonly statuses: Map<number, number>
  readonly random: Random
  readonly faults: readonly Fault[]
  readonly programs: number
  readonly sync: string
}

/** The life of a directory. */
async function runEra(t: TestContext, era: Era): Promise<void> {
  const { dist, stakes, statuses, random, faults, sync } = era
  const directory = temporaryFolder(t)
  const ledger = new Ledger()
  const programs = await Promise.all(Array.from({ length: era.programs }, () => Subject.program(t, dist, directory, ['--sync', sync])))
  const [first] = programs as [Program, ...Program[]]
  await Promise.all(programs.map((program) => program.start()))
  const before = await Promise.all(programs.map(async (program) => {
    await warmUp(program, ledger, random.fork(program.port))
    return holdingsAtRest(program)
  }))

  const ended = new AbortController()
  const ports = programs.map(({ port }) => port)
  const slots = Array.from({ length: UPLOADS }, async (_, slot) => {
    const sizes = random.fork(slot)
    const clients = Array.from({ length: CLIENTS_EACH }, (_, index) => new RestlessClient(ports, sizes.fork(index)))
    for (let turn = 0; !ended.signal.aborted; turn++) {
      const entry = await clients[0]!.create(ledger, sizes.integer(1, MAX_BYTES), `${directory} ${slot} ${turn}`, ended.signal)
      if (entry) await Promise.all(clients.map((client) => client.push(entry, ended.signal)))
    }
    for (const client of clients) for (const [status, count] of client.statuses) statuses.set(status, (statuses.get(status) ?? 0) + count)
  })
  const clients = Promise.all(slots)
  clients.catch(() => ended.abort()) // it is reported below

  const starting = programs.map(() => Promise.resolve())
  const leftByKills = new Set<string>()
  let acknowledgedBytes = 0
  let lostBytes = 0
  const weigh = (fault: Fault): void => {
    const stake = stakes.get(fault) ?? { rounds: 0, acknowledgedBytes: 0, lostBytes: 0 }
    const acknowledged = sum(ledger, 'acknowledged')
    const lost = sum(ledger, 'lost')
    stakes.set(fault, {
      rounds: stake.rounds + 1,
      acknowledgedBytes: stake.acknowledgedBytes + acknowledged - acknowledgedBytes,
      lostBytes: stake.lostBytes + lost - lostBytes,
    })
    acknowledgedBytes = acknowledged
    lostBytes = lost
  }
  try {
    for (const fault of faults) {
      await delay(random.integer(0, MAX_PEACE_MS))
      if (ended.signal.aborted) break
      const index = random.integer(0, programs.length - 1)
      await starting[index] // another may still be on its way up
      const exit = await strike(programs[index]!, fault, random)
      weigh(fault)
      if (programs.length === 1) { // nobody is at work
        ledger.audit(directory)
        if (exit.signal === 'SIGKILL' || exit.code === 1) for (const name of temporaryFiles(directory)) leftByKills.add(name)
        else assertTidy(directory, exit, leftByKills)
      }
      starting[index] = programs[index]!.start()
    }
    await Promise.all(starting)
  } finally {
    ended.abort()
  }
  await clients

  await Promise.all(ledger.entries.map((entry) => finish(first.port, entry)))
  for (const [index, program] of programs.entries()) await assertSettles(program, before[index]!)
  assert.deepEqual(await Promise.all(programs.map((program) => program.stop())), programs.map(() => ({ code: 0, signal: null })))
  const audit = ledger.audit(directory)
  const stake = stakes.get(faults.at(-1)!)!
  stake.lostBytes += audit.lostBytes - lostBytes
  for (const { id, length } of ledger.entries) assert.equal(statSync(join(directory, id)).size, length)
  assert.deepEqual(locksIn(directory), [])
  for (const { alarms, errors } of programs) assert.deepEqual({ alarms, errors }, { alarms: [], errors: '' })
  rmSync(directory, { recursive: true }) // or all eras together would fill a disk
}

/** Uploads something, so that what a program makes only once is made. */
async function warmUp({ port }: Program, ledger: Ledger, random: Random): Promise<void> {
  const entry = await new RestlessClient([port], random).create(ledger, 100_000, `warm-up ${port}`, new AbortController().signal)
  await finish(port, entry!)
}

/** Ends a program, and checks how it ended. */
async function strike(program: Program, fault: Fault, random: Random): Promise<Exit> {
  program.process.kill(fault === 'SIGKILL' ? 'SIGKILL' : 'SIGTERM')
  // Somebody presses Ctrl-C until it ends. From half a second on that forces.
  const impatience = setInterval(
    () => fault === 'SIGTERM and SIGINT' && program.process.kill('SIGINT'),
    random.integer(10, MAX_PATIENCE_MS),
  )
  const exit = await program.exit
  clearInterval(impatience)
  const { code, signal } = exit
  if (fault === 'SIGKILL') assert.equal(signal, 'SIGKILL')
  else if (fault === 'SIGTERM') assert.deepEqual(exit, { code: 0, signal: null }, program.errors)
  // While it closes its last handles, Node listens to no signal any more: one that comes may end what has finished.
  else assert.ok(code === 0 || code === 1 || signal === 'SIGINT', `After these signals it ended with ${code ?? signal}`)
  return exit
}

/** Whether a program that had finished has cleared everything away that no kill before it has left. */
function assertTidy(directory: string, { code }: Exit, leftByKills: ReadonlySet<string>): void {
  assert.deepEqual(temporaryFiles(directory).filter((name) => !leftByKills.has(name)), [])
  const left = locksIn(directory)
  assert.deepEqual(code === 0 ? left : left.filter((name) => !name.endsWith('.sock')), [])
}

function temporaryFiles(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.endsWith('.tmp'))
}

function sum(ledger: Ledger, what: 'acknowledged' | 'lost'): number {
  return ledger.entries.reduce((total, entry) => total + entry[what], 0)
}

function shuffle<T>(items: readonly T[], random: Random): T[] {
  const shuffled = [...items]
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = random.integer(0, last)
    ;[shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!]
  }
  return shuffled
}
