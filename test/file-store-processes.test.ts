// SPDX-License-Identifier: MIT

/** Several processes on one directory: without `shared: true`, the second is told. @module */

import assert from 'node:assert/strict'
import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { FileStore } from '../lib/file-store/file-store.ts'
import { compileLibrary, confinement } from './fault/subject.ts'
import { runProgram, startProgram } from './support/program.ts'
import { temporaryFolder } from './support/temporary.ts'

const BOOT = existsSync('/proc/sys/kernel/random/boot_id') ? readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim() : ''
const marksIn = (directory: string): string[] => readdirSync(join(directory, '.in-use')).sort()

async function storeProcess(t: TestContext): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL('./support/store-process.ts', import.meta.url)), { execArgv: ['--import', 'tsx'] })
  t.after(() => child.kill('SIGKILL'))
  await once(child, 'message')
  return child
}

/** Opens a store in the process; `open`, or the code of the error. */
async function openIn(child: ChildProcess, directory: string, shared: boolean, atMs = 0): Promise<string> {
  child.send({ directory, shared, atMs })
  const [answer] = (await once(child, 'message')) as [string]
  return answer
}

test('of two processes on one directory the second is told, unless both share it; and not any more when the first is gone', async (t) => {
  const [second, third] = [await storeProcess(t), await storeProcess(t)]
  for (const [first, other, expected] of [
    [false, false, 'STORE_IN_USE'],
    [false, true, 'STORE_IN_USE'],
    [true, false, 'STORE_IN_USE'],
    [true, true, 'open'],
  ] as const) {
    const directory = temporaryFolder(t)
    new FileStore(directory, { shared: first })
    const before = marksIn(directory)
    assert.equal(before.length, 1)
    assert.equal(await openIn(second, directory, other), expected)
    assert.equal(marksIn(directory).length, expected === 'open' ? 2 : 1, 'what is refused leaves no mark')
    new FileStore(directory, { shared: first }) // in this process as before
  }
  const directory = temporaryFolder(t)
  assert.equal(await openIn(third, directory, false), 'open')
  assert.throws(() => new FileStore(directory), (error: Error & { code: string }) => {
    assert.equal(error.name, 'FileStoreError')
    assert.equal(error.code, 'STORE_IN_USE')
    return error.message.includes(`process ${third.pid}`) && error.message.includes('shared: true')
  })
  third.kill('SIGKILL')
  await once(third, 'exit')
  new FileStore(directory)
  assert.deepEqual(marksIn(directory).map((name) => name.split('_')[0]), [String(process.pid)])
})

test('of two processes that open a directory in one moment, one at least is told', async (t) => {
  const [one, two] = [await storeProcess(t), await storeProcess(t)]
  for (let round = 0; round < 100; round++) {
    const directory = temporaryFolder(t)
    const atMs = Date.now() + 3
    const answers = await Promise.all([openIn(one, directory, false, atMs), openIn(two, directory, round % 2 === 0, atMs)])
    assert.ok(answers.includes('STORE_IN_USE') && answers.every((answer) => answer === 'open' || answer === 'STORE_IN_USE'), answers.join())
  }
})

test(
  'marks of processes that are gone are removed, and what is no mark stays',
  { skip: BOOT === '' && 'the system does not tell its boots' },
  (t) => {
    const directory = temporaryFolder(t)
    const folder = join(directory, '.in-use')
    mkdirSync(folder)
    const parent = readFileSync(`/proc/${process.ppid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')[19]
    const dead = [
      `${process.ppid}_${parent}_00000000-0000-0000-0000-000000000000.alone`, // of another boot
      `${process.ppid}_1${parent}_${BOOT}.alone`, // its number was given to another process since
      `${process.pid}_1_${BOOT}.alone`, // even to this one
      `4194305_1_${BOOT}.alone`, // larger than any on Linux
      `4194305__.shared`,
    ]
    const strangers = ['notes.txt', `-1_1_${BOOT}.alone`, `0_1_${BOOT}.alone`, '1_1_alone']
    for (const name of [...dead, ...strangers]) writeFileSync(join(folder, name), '')
    const old = `${process.ppid}__.alone` // where a system does not tell its boots, what is older than this one is dead
    writeFileSync(join(folder, old), '')
    utimesSync(join(folder, old), 0, 0)
    new FileStore(directory)
    const own = marksIn(directory).filter((name) => !strangers.includes(name))
    assert.deepEqual(own.map((name) => name.split('_')[0]), [String(process.pid)])
    assert.deepEqual(marksIn(directory).filter((name) => strangers.includes(name)), strangers.sort())

    for (const alive of [`${process.ppid}_${parent}_${BOOT}.shared`, `${process.ppid}__.shared`, `${process.ppid}__${BOOT}.shared`]) {
      writeFileSync(join(folder, alive), '')
      assert.throws(() => new FileStore(directory), { code: 'STORE_IN_USE' })
      new FileStore(directory, { shared: true })
      writeFileSync(join(folder, alive.replace('shared', 'alone')), '')
      assert.throws(() => new FileStore(directory, { shared: true }), { code: 'STORE_IN_USE' })
      for (const name of readdirSync(folder)) if (name.startsWith(`${process.ppid}_`)) rmSync(join(folder, name))
    }
  },
)

test('where no mark can be left, a store opens all the same', async (t) => {
  const directory = temporaryFolder(t)
  writeFileSync(join(directory, '.in-use'), '')
  const store = new FileStore(directory)
  assert.equal((await store.create({ id: 'a', length: 0 })).id, 'a')

  const [elsewhere, linked] = [temporaryFolder(t), temporaryFolder(t)]
  writeFileSync(join(elsewhere, '4194305_1_.alone'), '')
  symlinkSync(elsewhere, join(linked, '.in-use'))
  new FileStore(linked)
  assert.deepEqual(readdirSync(elsewhere), ['4194305_1_.alone'], 'a link that was planted is not followed')
})

test('a second program on one directory, whose locks are in memory, says so in one line and ends with 2', async (t) => {
  const directory = temporaryFolder(t)
  const first = await startProgram(t, ['--dir', directory, '--lock', 'memory'])
  for (const lock of ['memory', 'file']) {
    const { code, stdout, stderr } = await runProgram(['--dir', directory, '--lock', lock, '--port', '0'])
    assert.deepEqual([code, stdout], [2, ''])
    assert.match(stderr, new RegExp(`^longhaul: cannot use --dir [^\\n]*: [^\\n]* process ${first.process.pid}: [^\\n]*\\n$`))
  }
  first.process.kill('SIGTERM')
  assert.equal((await first.exit).code, 0)
  const again = await startProgram(t, ['--dir', directory, '--lock', 'memory'])
  again.process.kill('SIGKILL') // and after that, too
  await again.exit
  await startProgram(t, ['--dir', directory])
})

test("a program under Node's permission model, which may not read what the system says of processes, finds another all the same", async (t) => {
  const directory = temporaryFolder(t)
  const dist = await compileLibrary()
  const start = (): ChildProcess => {
    const args = [
      ...confinement(dist, directory),
      join(dist, 'cli', 'main.js'),
      '--dir',
      directory,
      '--port',
      '0',
      '--lock',
      'memory',
      '--sync',
      'none',
    ]
    const child = spawn(process.execPath, args)
    t.after(() => child.kill('SIGKILL'))
    return child
  }
  const first = start()
  assert.match((await once(createInterface({ input: first.stdout! }), 'line'))[0], /^longhaul listening/)
  const second = start()
  assert.match(
    (await once(createInterface({ input: second.stderr! }), 'line'))[0],
    new RegExp(`^longhaul: cannot use --dir .* process ${first.pid}:`),
  )
  first.kill('SIGKILL')
  await once(first, 'exit')
  const third = start()
  assert.match((await once(createInterface({ input: third.stdout! }), 'line'))[0], /^longhaul listening/)
})
