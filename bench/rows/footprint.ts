// SPDX-License-Identifier: MIT

/**
 * How much is installed, and how long a process takes until it answers for the first time.
 *
 * @module
 */

import { execFile } from 'node:child_process'
import { cpSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { askOptions } from '../client.ts'
import { withContender, type ContenderDescription } from '../contender.ts'
import { takeTurns, type Measured, type Row, type Setting } from '../row.ts'

const run = promisify(execFile)
/** The project, seen from where this file is compiled to. */
const PROJECT = fileURLToPath(new URL('../../../..', import.meta.url))
/** What the package is made of, and what it is made with. */
const SOURCES = ['package.json', 'tsconfig.json', 'lib', 'README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md']
const BLOCK_BYTES = 512

const STARTED: readonly ContenderDescription[] = [
  { name: 'longhaul', program: 'longhaul' },
  { name: '@tus/server', program: 'tus-node-server' },
  { name: 'bare node:http', program: 'bare', words: ['discard'] },
]

export const rows: readonly Row[] = [
  {
    name: 'footprint',
    title: 'What npm installs, with all dependencies',
    unit: 'KiB on disk',
    measure: measureInstalled,
    targets: [{ against: '@tus/server', atMost: 1 }],
  },
  {
    name: 'footprint-copied',
    title: 'lib/happy-reader.ts, copied',
    unit: 'KiB on disk',
    measure: async () => new Map([['longhaul', [kibOf(join(PROJECT, 'lib/happy-reader.ts'))]]]),
    targets: [],
  },
  {
    name: 'cold-start',
    title: 'From the start of the process to its first answer',
    unit: 'ms',
    measure: measureStart,
    targets: [{ against: '@tus/server', atMost: 1 }],
  },
]

/** One round: installing the same again gives the same. */
async function measureInstalled({ directory }: Setting): Promise<Measured> {
  const folder = mkdtempSync(join(directory, 'longhaul-bench-'))
  try {
    const tus = ['server', 'file-store'].map((name) => `@tus/${name}@${versionOf(`@tus/${name}`)}`)
    const figures = new Map<string, readonly number[]>()
    for (const [name, words] of [
      ['longhaul', [await pack(folder)]],
      ['@tus/server', tus],
      ['@tus/server, --omit=optional', [...tus, '--omit=optional']],
    ] as const) figures.set(name, [await install(mkdtempSync(join(folder, 'host-')), words)])
    return figures
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Compiles and packs longhaul in a folder of its own, and resolves with the path of the package. */
async function pack(folder: string): Promise<string> {
  const copy = mkdtempSync(join(folder, 'package-'))
  for (const name of SOURCES) cpSync(join(PROJECT, name), join(copy, name), { recursive: true })
  symlinkSync(join(PROJECT, 'node_modules'), join(copy, 'node_modules'))
  await run('npm', ['run', '--silent', 'build'], { cwd: copy })
  const { stdout } = await run('npm', ['pack', '--silent'], { cwd: copy })
  return join(copy, stdout.trim())
}

/** Installs packages in an empty project, and resolves with what they take. */
async function install(folder: string, words: readonly string[]): Promise<number> {
  writeFileSync(join(folder, 'package.json'), '{}')
  await run('npm', ['install', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', ...words], { cwd: folder })
  return kibOf(join(folder, 'node_modules'))
}

/** The version that the benchmark runs. */
function versionOf(name: string): string {
  return (JSON.parse(readFileSync(join(PROJECT, 'bench/node_modules', name, 'package.json'), 'utf8')) as { version: string }).version
}

/** What a file, or a folder and all that is in it, takes on the disk. */
function kibOf(path: string): number {
  const stats = lstatSync(path)
  const inside = stats.isDirectory() ? readdirSync(path).map((name) => kibOf(join(path, name))) : []
  return inside.reduce((sum, kib) => sum + kib, (stats.blocks * BLOCK_BYTES) / 1024)
}

async function measureStart({ directory, rounds }: Setting): Promise<Measured> {
  return takeTurns(STARTED, rounds, async (description) => {
    const startMs = performance.now()
    return withContender(description, directory, async (contender) => {
      await askOptions(contender)
      return performance.now() - startMs
    })
  })
}
