// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { builtinModules } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { ROOT } from './support/examples.ts'
import { linesOfCode } from './support/manifest.ts'
import { temporaryFolder } from './support/temporary.ts'

const run = promisify(execFile)
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
const sources = readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
const primitives = sources.filter((name) => !name.includes('/') && name !== 'index.ts')

/** A source without its comments, and what it imports or re-exports. */
function read(name: string): { readonly code: string; readonly imports: readonly string[] } {
  const code = readFileSync(join(ROOT, 'lib', name), 'utf8').replace(/\/\*[^]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
  const statements = code.matchAll(/^(?:import|export)\s[^'"]*?\sfrom\s+['"]([^'"]+)['"]|^import\s+['"]([^'"]+)['"]/gm)
  return { code, imports: Array.from(statements, ([, from, bare]) => from ?? bare ?? '') }
}

test('a primitive imports builtins of Node only, each by its node: name', () => {
  assert.ok(primitives.length >= 8)
  for (const name of primitives) {
    const { code, imports } = read(name)
    for (const specifier of imports) {
      assert.ok(specifier.startsWith('node:') && builtinModules.includes(specifier.slice(5)), `lib/${name} imports ${specifier}`)
    }
    assert.doesNotMatch(code, /\bimport\s*\(|\brequire\s*\(/, `lib/${name} imports at run time`)
    assert.match(readFileSync(join(ROOT, 'lib', name), 'utf8'), /Self-contained: this file/)
  }
})

test('imports point one way: cli to handler to tus and rufh, which do not know of each other, to http, download and upload, and from there to primitives', () => {
  const layers = ['primitive', 'upload', 'download', 'http', 'tus', 'handler', 'cli']
  const layerIn = (name: string): number => layers.indexOf(layerOf(name) === 'rufh' ? 'tus' : layerOf(name)) // side by side
  const layerOf = (name: string): string => (dirname(name) === '.' ? 'primitive' : dirname(name))
  for (const name of sources.filter((source) => source !== 'index.ts')) {
    for (const specifier of read(name).imports.filter((imported) => !imported.startsWith('node:'))) {
      const imported = normalize(join(dirname(name), specifier))
      assert.ok(sources.includes(imported), `lib/${name} imports ${specifier}, which is not a source of ours`)
      assert.notEqual(imported, 'index.ts', `lib/${name} imports the index`)
      const [from, to] = [layerIn(name), layerIn(imported)]
      assert.ok(from >= 0 && to >= 0 && (to < from || layerOf(name) === layerOf(imported)), `lib/${name} must not import ${specifier}`)
    }
  }
})

test('the core knows no header of any protocol', () => {
  for (const name of sources.filter((source) => source.startsWith('upload/'))) {
    assert.doesNotMatch(read(name).code, /['"`](?:upload|tus|content|repr|want|accept|x)-[a-z-]+['"`]|Upload-|Tus-|-Digest\b|octet-stream|partial-upload|\b104\b/i, `lib/${name} names a header`)
  }
})

/** What is used of `process`, by source: the store marks its directory with its process, and asks whether others live. */
const USED_OF_PROCESS: { readonly any: readonly string[]; readonly [name: string]: readonly string[] | undefined } = {
  any: ['platform', 'on', 'off'],
  'file-store.ts': ['platform', 'pid', 'kill'],
}

test('nothing but the program writes to the console, ends the process or reads its environment', () => {
  for (const name of sources.filter((source) => !source.startsWith('cli/'))) {
    const { code, imports } = read(name)
    assert.doesNotMatch(code, /\bconsole\.|\beval\b|\bFunction\s*\(/, `lib/${name}`)
    for (const [, member] of code.matchAll(/\bprocess\.(\w+)/g)) assert.ok((USED_OF_PROCESS[name] ?? USED_OF_PROCESS.any).includes(member!), `lib/${name} uses process.${member}`)
    for (const [, signal] of code.matchAll(/\bprocess\.kill\([^,)]*(.*?)\)/g)) assert.equal(signal, ', 0', `lib/${name} signals a process`)
    assert.ok(!imports.includes('node:process') && !/= process\b|globalThis\.process|process\[/.test(code), `lib/${name} takes hold of the process`)
  }
})

/** What is imported at run time, from which modules of Node: none of it reaches another host or process. */
const HARMLESS: Readonly<Record<string, readonly string[]>> = {
  'node:crypto': ['createHash', 'randomBytes', 'randomUUID'],
  'node:diagnostics_channel': ['channel'],
  'node:events': ['once', 'setMaxListeners'],
  'node:fs': ['constants', 'createReadStream', 'lstatSync', 'mkdirSync', 'readFileSync', 'readdirSync', 'rmSync', 'writeFileSync'],
  'node:fs/promises': ['chmod', 'copyFile', 'lstat', 'lutimes', 'mkdir', 'open', 'opendir', 'readFile', 'readdir', 'readlink', 'rename', 'rm', 'stat', 'symlink', 'unlink', 'utimes'],
  'node:http': ['STATUS_CODES', 'validateHeaderName', 'validateHeaderValue'],
  'node:net': ['BlockList', 'Server', 'isIP'],
  'node:os': ['hostname', 'uptime'],
  'node:path': ['dirname', 'join', 'resolve'],
  'node:stream': ['Readable', 'Transform', 'Writable'],
  'node:stream/promises': ['finished', 'pipeline'],
  'node:tls': ['Server'],
}

test('nothing but the program reaches the network or another process; the locks use sockets that are files', () => {
  for (const name of sources.filter((source) => !source.startsWith('cli/'))) {
    const { code } = read(name)
    for (const [, names = '', module = ''] of code.matchAll(/^import (?!type )(.*?) from '(node:[^']+)'/gm)) {
      const values = names.replace(/[{}]/g, '').split(',').map((each) => each.trim().replace(/ as \w+$/, '')).filter((each) => each !== '' && !each.startsWith('type '))
      const allowed = name === 'lock-files.ts' && module === 'node:net' ? ['connect', 'createServer'] : HARMLESS[module] ?? []
      for (const value of values) assert.ok(allowed.includes(value), `lib/${name} imports ${value} from ${module}`)
    }
    assert.doesNotMatch(code, /(?<![#.])\b(?:fetch|WebSocket|EventSource|Worker)\s*\(|\bimport\s*\(|\brequire\s*\(|\bgetBuiltinModule\b/, `lib/${name}`)
  }
  const { code } = read('lock-files.ts')
  for (const [, address] of code.matchAll(/(?:\bconnect|\.listen)\((.{5})/g)) assert.match(address!, /^(?:\{ pat|path\))/)
})

test('every source says its licence and what it is, and exports by name', () => {
  for (const name of sources) {
    const text = readFileSync(join(ROOT, 'lib', name), 'utf8')
    assert.match(text, /^(?:#!.*\n)?\/\/ SPDX-License-Identifier: MIT\n/, `lib/${name}`)
    if (name !== 'index.ts') assert.match(text, /^\/\*\*\n[^]*?@module\n \*\/$/m, `lib/${name}`)
    assert.doesNotMatch(read(name).code, /export default/, `lib/${name}`)
  }
})

test('the package depends on nothing, and its tools are the five that are allowed', () => {
  for (const kind of ['dependencies', 'peerDependencies', 'optionalDependencies', 'bundledDependencies']) assert.equal(manifest[kind], undefined)
  assert.deepEqual(Object.keys(manifest.devDependencies).sort(), ['@types/node', 'c8', 'fast-check', 'tsx', 'typescript'])
  for (const hook of ['preinstall', 'install', 'postinstall', 'prepare']) assert.equal(manifest.scripts[hook], undefined)
})

test('each primitive has a subpath of its own, named after its file', () => {
  for (const name of primitives) {
    const path = `./dist/${name.replace(/\.ts$/, '')}`
    assert.deepEqual(manifest.exports[`./${name.replace(/\.ts$/, '')}`], { types: `${path}.d.ts`, default: `${path}.js` })
  }
  for (const subpath of Object.keys(manifest.exports)) assert.doesNotMatch(subpath, /\*/)
})

test('the top level holds what belongs there and nothing else', async () => {
  const { stdout } = await run('git', ['ls-files'], { cwd: ROOT })
  const top = new Set(stdout.trim().split('\n').map((path) => path.split('/')[0]!))
  const expected = ['.ci', '.gitignore', 'CHANGELOG.md', 'LICENSE', 'README.md', 'SECURITY.md', 'bench', 'lib', 'package-lock.json', 'package.json', 'test', 'tsconfig.json']
  assert.deepEqual([...top].sort(), expected)
})

test('where requestTimeout is switched off, the time for headers is not: Node would derive the one from the other', () => {
  assert.equal(createServer({ requestTimeout: 0 }).headersTimeout, 0)
  assert.equal(createServer({ requestTimeout: 0, headersTimeout: 60_000 }).headersTimeout, 60_000)
  for (const name of ['README.md', ...sources.map((source) => join('lib', source))]) {
    for (const [, rest = ''] of readFileSync(join(ROOT, name), 'utf8').matchAll(/requestTimeout: 0(.{0,20})/g)) assert.match(rest, /^, headersTimeout: /, name)
  }
})

test("the README's commands are those that CI runs, and its table counts the lines as they are", () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  assert.match(readme, /^npm ci && npm start$/m)
  assert.match(readme, /^npm ci && npm test$/m)
  assert.match(readFileSync(join(ROOT, '.ci', 'run'), 'utf8'), /npm ci && npm test|npm test/)
  const rows = new Map(Array.from(readme.matchAll(/^\| \[`([^`]+)`\]\([^)]*\) \|.*\| (\d+) \| [^|]+ \|$/gm), ([, name, lines]) => [name!, Number(lines)]))
  const linesOf = (name: string): number => linesOfCode(readFileSync(join(ROOT, 'lib', name), 'utf8')).length
  for (const name of primitives) assert.equal(rows.get(name), linesOf(name), `lines of code of lib/${name} in the README`)
  for (const folder of ['tus/', 'rufh/', 'http/', 'upload/', 'download/']) {
    const lines = sources.filter((name) => name.startsWith(folder)).reduce((sum, name) => sum + linesOf(name), 0)
    assert.equal(rows.get(folder), lines, `lines of code of lib/${folder} in the README`)
  }
})

test('each promise of SECURITY.md names tests that exist', () => {
  const rows = readFileSync(join(ROOT, 'SECURITY.md'), 'utf8').split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| promise'))
  assert.ok(rows.length > 20)
  for (const row of rows) {
    const paths = Array.from(row.matchAll(/`(test\/[^`]+)`/g), ([, path]) => path!)
    assert.ok(paths.length > 0, row)
    for (const path of paths) assert.ok(existsSync(join(ROOT, path)), `${path} of SECURITY.md is not there`)
  }
})

for (const name of primitives) {
  test(`${name}, copied alone into an empty folder, type-checks there and runs, in a module and in a CommonJS host`, async (t) => {
    for (const type of ['module', 'commonjs']) {
      const folder = temporaryFolder(t)
      copyFileSync(join(ROOT, 'lib', name), join(folder, name))
      writeFileSync(join(folder, 'package.json'), JSON.stringify({ type }))
      const exported = name.replace(/\.ts$/, '')
      writeFileSync(join(folder, 'use.mts'), `import * as all from './${exported}.js'\nconsole.log(Object.keys(all).join())\n`)
      const compilerOptions = { ...VENDOR_OPTIONS, types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')] }
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts', '*.mts'] }))
      const { stdout: complaints } = await run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', folder]).catch(
        (error: { stdout: string }) => error,
      )
      assert.equal(complaints, '')
      const { stdout } = await run(process.execPath, [join(folder, 'out', 'use.mjs')])
      assert.match(stdout, /\w/)
    }
  })
}

/** A host that is as strict as a host can be, and has nothing but Node's types. */
const VENDOR_OPTIONS = {
  target: 'es2022',
  lib: ['es2022', 'esnext.disposable'],
  module: 'nodenext',
  outDir: 'out',
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  noImplicitReturns: true,
  noPropertyAccessFromIndexSignature: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  isolatedModules: true,
  erasableSyntaxOnly: true,
}

test('a primitive that was copied alone runs from its source, where Node runs TypeScript', async (t) => {
  const runsTypeScript = (process.features as { typescript?: unknown }).typescript
  for (const name of primitives) {
    const folder = temporaryFolder(t)
    copyFileSync(join(ROOT, 'lib', name), join(folder, name))
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
    writeFileSync(join(folder, 'use.mjs'), `import * as all from './${name}'\nconsole.log(Object.keys(all).join())\n`)
    const loader = runsTypeScript ? [] : ['--import', 'tsx']
    const { stdout } = await run(process.execPath, [...loader, 'use.mjs'], { cwd: folder })
    assert.match(stdout, /\w/)
  }
})
