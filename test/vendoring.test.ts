// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { HappyReaderError } from '../lib/happy-reader.ts'
import { ROOT } from './support/examples.ts'
import { generatedFiles, linesOfCode, makeManifest, PRIMITIVES } from './support/manifest.ts'
import { temporaryFolder } from './support/temporary.ts'

const guide = readFileSync(join(ROOT, 'lib', 'VENDORING.md'), 'utf8')
const manifest = makeManifest()
const primitives = PRIMITIVES.flatMap(({ files }) => files)

/** The blocks of shell in the guide, in their order. */
const [copy = '', verify = '', copyUnit = '', compare = '', helper = '', ...checks] = Array.from(
  guide.matchAll(/^```sh\n([^]*?)^```$/gm),
  ([, code = '']) => code,
)

/** A folder with the unpacked package in `package`, as the guide has it. */
let packed = ''

before(async () => {
  packed = mkdtempSync(join(tmpdir(), 'longhaul-'))
  const tree = join(packed, 'tree')
  for (const path of ['lib', 'package.json', 'LICENSE']) cpSync(join(ROOT, path), join(tree, path), { recursive: true })
  await output(tree, 'npm', 'pack', '--silent', '--ignore-scripts')
  await output(packed, 'tar', '-xf', join('tree', `${manifest.name}-${manifest.version}.tgz`))
})

after(() => rmSync(packed, { recursive: true }))

/** A folder in which the guide can be followed. */
function workplace(t: TestContext): string {
  const folder = temporaryFolder(t)
  cpSync(join(packed, 'package'), join(folder, 'package'), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

interface Result {
  readonly code: number
  readonly stdout: string
}

function result(folder: string, command: string, ...args: readonly string[]): Promise<Result> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { cwd: folder }, (error, stdout) => {
      if (error && typeof error.code !== 'number') reject(error)
      else resolve({ code: Number(error?.code ?? 0), stdout })
    })
  })
}

/** What a command prints that must succeed. */
async function output(folder: string, command: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout } = await result(folder, command, ...args)
  assert.equal(code, 0, `${command} ${args.join(' ')}: ${stdout}`)
  return stdout
}

const shell = (folder: string, code: string): Promise<string> => output(folder, 'sh', '-c', code)

/** What the compiler complains about. */
async function compile(folder: string, ...options: readonly string[]): Promise<string> {
  const given = options.filter((option) => option.startsWith('--'))
  const usual = [['--strict'], ['--skipLibCheck'], ['--types', 'node'], ['--target', 'es2022']]
    .filter(([option]) => !given.includes(option!))
    .flat()
  return (await result(folder, process.execPath, join(ROOT, 'node_modules/typescript/bin/tsc'), '--ignoreConfig', ...usual, ...options))
    .stdout
}

test('the manifest and the bill of materials say what the sources are', () => {
  for (const [path, text] of generatedFiles()) {
    assert.ok(readFileSync(join(ROOT, path), 'utf8') === text, `${path} is not what the sources make of it: run "npm run build"`)
  }
})

test('they are made by the build, the same wherever that is, and not touched if nothing has changed', async (t) => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  assert.equal(scripts.build, 'tsc && node --import tsx test/support/manifest.ts')
  const folder = workplace(t)
  const paths = [...generatedFiles().keys()]
  const touched = (path: string): bigint => statSync(join(folder, 'package', path), { bigint: true }).mtimeNs
  mkdirSync(join(folder, 'package/test/support'), { recursive: true })
  for (const name of ['manifest.ts', 'examples.ts']) {
    copyFileSync(join(ROOT, 'test/support', name), join(folder, 'package/test/support', name))
  }
  for (const path of paths) rmSync(join(folder, 'package', path))

  const build = scripts.build.replace(/^tsc && node/, `"${process.execPath}"`)
  await shell(join(folder, 'package'), build)
  for (const path of paths) assert.equal(readFileSync(join(folder, 'package', path), 'utf8'), generatedFiles().get(path))
  const first = paths.map(touched)
  await shell(join(folder, 'package'), build)
  assert.deepEqual(paths.map(touched), first)
})

test('the exports of the manifest are what each file exports', async () => {
  for (const { files: [entry = ''], exports } of Object.values(manifest.units)) {
    assert.deepEqual(Object.keys(await import(join(ROOT, 'lib', entry))).sort(), exports, entry)
  }
})

test('the modules and globals of the manifest are those that a compiler misses who knows nothing of Node', async (t) => {
  const folder = workplace(t)
  const sources = Object.keys(manifest.files).map((path) => join('package/lib', path))
  assert.equal(
    await compile(
      folder,
      '--module',
      'nodenext',
      '--rewriteRelativeImportExtensions',
      '--rootDir',
      'package/lib',
      '--outDir',
      'emitted',
      ...sources,
    ),
    '',
  )
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  const bare = [
    '--noEmit', '--checkJs', '--allowJs', '--types', '', '--lib', 'es2023,esnext.disposable', '--module', 'nodenext', '--strict', 'false',
  ]
  const complaints = await compile(
    folder,
    ...bare,
    ...Object.keys(manifest.files).map((path) => join('emitted', path.replace(/ts$/, 'js'))),
  )
  const missed = Array.from(complaints.matchAll(/^emitted\/(.*?)\.js\(.*Cannot find name '([^']+)'/gm), ([, path = '', name = '']) => ({
    path: `${path}.ts`,
    name,
  }))
  for (const [subpath, { files, imports, globals }] of Object.entries(manifest.units)) {
    const names = new Set(missed.filter(({ path }) => files.includes(path)).map(({ name }) => name))
    assert.deepEqual(
      [...names].sort(),
      [...new Set([...Object.keys(imports), ...globals.map((name) => name.split('.')[0]!)])].sort(),
      subpath,
    )
  }
})

test('a file that was copied as the guide says is verified as it says, and a changed one is not', async (t) => {
  const folder = workplace(t)
  await shell(folder, copy)
  assert.equal(await shell(folder, verify), 'happy-reader.ts: OK\n')
  appendFileSync(join(folder, 'vendor/longhaul/happy-reader.ts'), '\n')
  const { code, stdout } = await result(folder, 'sh', '-c', verify)
  assert.deepEqual([code, stdout], [1, 'happy-reader.ts: FAILED\n'])
})

test('git changes no byte of a copy, whatever it does with the line ends of others', async (t) => {
  const folder = workplace(t)
  await shell(folder, copy)
  const git = (...args: string[]): Promise<string> => output(folder, 'git', '-c', 'user.name=t', '-c', 'user.email=t@localhost', ...args)
  const checkOut = async (name: string): Promise<Result> => {
    await git('add', 'vendor')
    await git('commit', '--quiet', '--message', name)
    await git('-c', 'core.autocrlf=true', 'clone', '--quiet', '.', name)
    return result(join(folder, name), 'sh', '-c', verify)
  }
  await git('init', '--quiet')
  assert.deepEqual(await checkOut('guarded'), { code: 0, stdout: 'happy-reader.ts: OK\n' })
  await git('rm', '--quiet', 'vendor/longhaul/.gitattributes')
  assert.equal((await checkOut('unguarded')).code, 1)
})

const hosts = Array.from(
  guide.matchAll(/^\| `(--[^`]+)`.*? \| `(module|commonjs)` \| (compiles|TS\d+)/gm),
  ([, options = '', type = '', outcome = '']) => ({ options, type, outcome }),
)

test('the guide names both types of hosts, and options that the compiler refuses', () => {
  assert.deepEqual([...new Set(hosts.map(({ type }) => type))].sort(), ['commonjs', 'module'])
  assert.deepEqual([...new Set(hosts.map(({ outcome }) => outcome))].sort(), ['TS1287', 'TS2554', 'TS2591', 'compiles'])
})

for (const { options, type, outcome } of hosts) {
  test(`in a host of type ${type}, with ${options}: ${outcome}`, async (t) => {
    const folder = temporaryFolder(t)
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ type }))
    const alone = primitives.filter((name) => !name.includes('/'))
    for (const name of alone) copyFileSync(join(ROOT, 'lib', name), join(folder, name))
    const flags = ['--outDir', 'out', ...options.split(' ').map((option) => (option === "''" ? '' : option))]
    if (outcome === 'compiles') return assert.equal(await compile(folder, ...flags, ...alone), '')
    assert.match(await compile(folder, ...flags, 'happy-reader.ts'), new RegExp(`error ${outcome}:`))
    if (outcome !== 'TS1287') return
    renameSync(join(folder, 'happy-reader.ts'), join(folder, 'happy-reader.mts'))
    assert.equal(await compile(folder, ...flags, 'happy-reader.mts'), '')
  })
}

for (const [subpath, { files: [entry = '', ...others], exports }] of Object.entries(manifest.units)) {
  if (others.length === 0) continue
  test(`the folders of ${subpath}, copied as the guide says, are whole: they are verified, compile and run`, async (t) => {
    const folder = workplace(t)
    await shell(folder, copyUnit.replace('upload-handler', subpath))
    assert.deepEqual((await shell(folder, verify)).trim().split('\n').sort(), [entry, ...others].map((path) => `${path}: OK`).sort())
    await compileAndUse(folder, 'module', entry, exports)
  })
}

test('copied folders compile in a host of type commonjs as well, and nowhere without being allowed to name .ts files', async (t) => {
  const folder = workplace(t)
  const { files: [entry = ''], exports } = manifest.units['upload-handler']!
  await shell(folder, copyUnit)
  await compileAndUse(folder, 'commonjs', entry, exports)
  const options = ['--noEmit', '--module', 'nodenext', join('vendor/longhaul', entry)]
  assert.match(await compile(folder, ...options), /error TS5097/)
  assert.equal(await compile(folder, '--allowImportingTsExtensions', ...options), '')
})

async function compileAndUse(folder: string, type: string, entry: string, exports: readonly string[]): Promise<void> {
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type }))
  const options = ['--module', 'nodenext', '--rewriteRelativeImportExtensions', '--rootDir', 'vendor/longhaul', '--outDir', 'out']
  assert.equal(await compile(folder, ...options, join('vendor/longhaul', entry)), '')
  const use = `import('./out/${entry.replace(/ts$/, 'js')}').then((all) => console.log(${JSON.stringify(exports)}.every((name) => name in all)))`
  assert.equal(await output(folder, process.execPath, '--eval', use), 'true\n')
}

test("an error of a copy has the code of the package's, and another class", async (t) => {
  const folder = workplace(t)
  await shell(folder, copy)
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  const theirs = await import(join(folder, 'vendor/longhaul/happy-reader.ts')) as { HappyReaderError: typeof HappyReaderError }
  const error = new theirs.HappyReaderError('SHORT', 'The body ended too soon')
  assert.equal(error instanceof HappyReaderError, false)
  assert.equal(error.code, new HappyReaderError('SHORT', '').code)
})

test("the handlers take a copy of a store and of locks; what asks for the package's class does not take a copy's", async (t) => {
  const folder = workplace(t)
  mkdirSync(join(folder, 'vendor'))
  for (const name of ['file-store', 'lock-files', 'keyed-lock.ts']) {
    cpSync(join(folder, 'package/lib', name), join(folder, 'vendor', name), { recursive: true })
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'host.ts'), HOST)
  assert.equal(await compile(folder, '--module', 'nodenext', '--noEmit', '--allowImportingTsExtensions', 'host.ts'), '')
})

const HOST = `
import { KeyedLock } from './package/lib/keyed-lock.ts'
import { uploadHandler } from './package/lib/upload-handler.ts'
import { FileStore } from './vendor/file-store/file-store.ts'
import { KeyedLock as CopiedLock } from './vendor/keyed-lock.ts'
import { LockFiles } from './vendor/lock-files/lock-files.ts'
uploadHandler({ store: new FileStore('uploads'), locker: await LockFiles.open('locks') })
uploadHandler({ store: new FileStore('uploads'), locker: new CopiedLock() })
// @ts-expect-error
const locks: KeyedLock = new CopiedLock()
`

test('a newer package shows what it changes', async (t) => {
  const folder = workplace(t)
  await shell(folder, copy)
  assert.deepEqual(await result(folder, 'sh', '-c', compare), { code: 0, stdout: 'Only in vendor/longhaul: LICENSE\n' })
  appendFileSync(join(folder, 'package/lib/happy-reader.ts'), '// newer\n')
  appendFileSync(join(folder, 'package/lib/manifest.json'), '{}\n')
  assert.deepEqual((await shell(folder, compare)).match(/^\+.*$/gm)?.filter((line) => !line.startsWith('+++')), ['+{}', '+// newer', '+{}'])
})

/** What the primitives keep between calls. */
const STATE: ReadonlyMap<string, RegExp> = new Map([
  ['delayed-signal.ts', /^const followersByParent = new WeakMap.*\n$/],
  ['file-store/sidecars.ts', /^const trusts = new WeakMap.*\n$/],
])

test('the checklist finds nothing in the primitives but what it says, and lets no timer or listener pass', async (t) => {
  const folder = workplace(t)
  const [comments, imports, reach, state, characters, pairs, reasons, needs] = checks as [
    string, string, string, string, string, string, string, string,
  ]
  assert.equal(checks.length, 8)
  for (const name of primitives) {
    const print = async (check: string): Promise<string> =>
      (await result(folder, 'sh', '-c', `file=package/lib/${name}\n${helper}${check}`)).stdout
    assert.equal(await print('code "$file" | grep -v "^ *$"'), withoutTrailingComments(name), `the helper, of ${name}`)
    const ofItsFolder = name.includes('/') ? /^.* from '\.\/[a-z-]+\.ts'\n/gm : /$^/
    assert.equal((await print(imports)).replace(ofItsFolder, ''), '', name)
    for (const check of [comments, reach, characters]) assert.equal(await print(check), '', `${name}: ${check}`)
    assert.match(await print(state), STATE.get(name) ?? /^$/, name)
    const lines = await print(pairs)
    for (const kind of ['Timeout', 'Interval']) {
      assert.equal(lines.includes(`set${kind}(`), lines.includes(`clear${kind}(`), `${name}: ${kind}`)
    }
    assert.equal(lines.includes('addEventListener('), lines.includes('removeEventListener('), name)
    await print(reasons)
  }
  const found = await shell(folder, `file=package/lib/happy-reader.ts\n${needs}`)
  assert.equal(
    found,
    ['AbortSignal', 'Buffer', 'clearImmediate', 'clearTimeout', 'node:stream', 'performance', 'setImmediate', 'setTimeout']
      .map((name) => `Cannot find name '${name}'\n`)
      .join('') + "Cannot find namespace 'NodeJS'\n",
  )
})

function withoutTrailingComments(name: string): string {
  const lines = linesOfCode(readFileSync(join(ROOT, 'lib', name), 'utf8'))
  return lines.map((line) => `${line.replace(/ \/\/ .*/, '')}\n`).join('')
}

test('each check finds what it is there to find', async (t) => {
  const folder = workplace(t)
  const faulty = [
    ["/** x */ fetch('http://example.com')", 'f() /* x', '/** x\n */ f()'],
    ["import { x } from 'x'", "import {\n  x,\n} from './x.ts'", "import './x.ts'", 'import { x } from "x"'],
    [
      '  await import(name)', '  new Function(text)', '  return fetch(url)', "  globalThis['x']", '  process.exit(1)',
      '  return process.env', '  const host = process', '  use(process)',
    ],
    ['let state = 0', 'export const seen = new Map()', "process.on('exit', f)"],
    ['const a\u0441cess = 1', "const side = '\u202e'"],
    ["  source.on('data', f)", '  setTimeout(f, 1)'],
    ['  return x as unknown as Y', '  } catch {', '  // @ts-ignore'],
  ]
  for (const [index, samples] of faulty.entries()) {
    for (const sample of samples) {
      writeFileSync(join(folder, 'faulty.ts'), `/** Comment. */\n${sample}\n`)
      const { stdout } = await result(folder, 'sh', '-c', `file=faulty.ts\n${helper}${checks[index]}`)
      assert.notEqual(stdout, '', `${sample} passes check ${index}`)
    }
  }
})

/** The steps of the audit: how the line of code begins at which each of them starts, and the tests that it names. */
const steps = Array.from(
  guide.slice(guide.indexOf('in ten minutes')).matchAll(/^\d+\. `([^\n]+?)`: ([^]*?)\n(?=\d+\. |\n)/gm),
  ([, anchor = '', text = '']) => {
    const tests = Array.from(text.replace(/\s+/g, ' ').matchAll(/\b([A-Z]) "([^"]+)"/g), ([, file = '', name = '']) => ({ file, name }))
    return { anchor, tests }
  },
)

test('the audit walks through every line of happy-reader.ts, in order, in steps that can be overseen', () => {
  const lines = linesOfCode(readFileSync(join(ROOT, 'lib', 'happy-reader.ts'), 'utf8')).map((line) => line.trim())
  const places = steps.map(({ anchor }) => {
    const found = lines.filter((line) => line.startsWith(anchor))
    assert.equal(found.length, 1, `${found.length} lines of lib/happy-reader.ts begin with ${anchor}`)
    return lines.indexOf(found[0]!)
  })
  assert.equal(places[0], 0)
  for (const [index, place] of places.entries()) {
    const length = (places[index + 1] ?? lines.length) - place
    assert.ok(length > 0 && length <= 25, `step ${index + 1} has ${length} lines`)
  }
})

test('each step of the audit names a test that exists', () => {
  const files = new Map(
    Array.from(guide.replace(/\s+/g, ' ').matchAll(/`(test\/[^`]+)` \(([A-Z])\)/g), ([, path = '', letter = '']) => [
      letter,
      readFileSync(join(ROOT, path), 'utf8'),
    ]),
  )
  for (const { anchor, tests } of steps) {
    assert.ok(tests.length > 0, anchor)
    for (const { file, name } of tests) {
      assert.ok(files.get(file)?.includes(`\ntest('${name}', `), `${anchor}: there is no test ${file} "${name}"`)
    }
  }
})

test('the guide names no file that is not there', () => {
  for (const [, path = ''] of guide.matchAll(/\]\(([^)]+)\)/g)) assert.ok(statSync(join(ROOT, 'lib', path)).isFile(), path)
})
