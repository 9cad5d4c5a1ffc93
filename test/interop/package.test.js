// SPDX-License-Identifier: MIT

/**
 * The package as its users get it: packed from a copy of the project, and installed from the tarball.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { build } from 'esbuild'
import { publint } from 'publint'
import ts from 'typescript-5.9'
import { assertArrived, finish, startUpload, temporaryFolder } from './uploading.js'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const HERE = fileURLToPath(new URL('.', import.meta.url))
const { exports, version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
const SUBPATHS = Object.keys(exports).filter((subpath) => subpath !== './package.json')
/** A file directly in `dist`, or a folder that is named after its entry. */
const PRIMITIVES = SUBPATHS.filter((subpath) =>
  /^\.\/dist\/(?:([^/]+)\/\1|[^/]+)\.js$/.test(exports[subpath].default) && !['.', './upload-handler'].includes(subpath))
const LEFT_OVER = 'left-over.js'

/** Each minor of TypeScript that this folder depends on, with the oldest types of Node that it can read, or the newest. */
const COMPILERS = Object.keys(JSON.parse(readFileSync(join(HERE, 'package.json'), 'utf8')).devDependencies)
  .filter((name) => name.startsWith('typescript-'))
  .map((name) => ({ name, minor: name.slice('typescript-'.length), types: /-5\.[45]$/.test(name) ? 'types-node-20' : 'types-node-26' }))
const LIMITS = { timeout: 120_000 }

const folder = mkdtempSync(join(tmpdir(), 'longhaul-package-'))
const app = join(folder, 'app')
const installed = join(app, 'node_modules', 'longhaul')
let tarball, files, installation

before(async () => {
  const project = join(folder, 'project')
  const ignored = ['.git', 'node_modules', 'coverage', 'uploads'].map((name) => join(ROOT, name))
  cpSync(ROOT, project, { recursive: true, filter: (path) => !ignored.includes(path) && basename(path) !== 'node_modules' })
  symlinkSync(join(ROOT, 'node_modules'), join(project, 'node_modules'))
  mkdirSync(join(project, 'dist'), { recursive: true })
  writeFileSync(join(project, 'dist', LEFT_OVER), '// its source was deleted\n')
  await run('npm', ['pack', '--pack-destination', folder], { cwd: project })
  tarball = join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz')))

  mkdirSync(app)
  writeFileSync(join(app, 'package.json'), '{ "private": true }')
  installation = await run('npm', ['install', '--offline', '--no-audit', '--no-fund', tarball], { cwd: app })
  files = filesBelow(installed).sort()
}, LIMITS)
after(() => rmSync(folder, { recursive: true, force: true }))

test('it holds what is run, what is read and what explains it, and nothing else', (t) => {
  const beside = files.filter((name) => !/^(?:dist|lib)\//.test(name))
  assert.deepEqual(beside, ['CHANGELOG.md', 'LICENSE', 'README.md', 'SECURITY.md', 'package.json'])
  for (const name of files.filter((name) => name.startsWith('lib/'))) {
    assert.match(name, /^lib\/(?:page\/[\w-]+\.(?:html|css|js|svg)|[\w-]+\.md|\.gitattributes|manifest\.json|sbom\.cdx\.json|(?:[\w-]+\/)*[\w-]+\.ts)$/)
    assert.deepEqual(readFileSync(join(installed, name)), readFileSync(join(folder, 'project', name)), name)
  }
  for (const name of filesBelow(join(ROOT, 'lib')).filter((name) => /\.(?:md|html|css)$/.test(name))) {
    assert.ok(files.includes(`lib/${name}`), `lib/${name} is missing`)
  }
  const unpackedBytes = files.reduce((sum, name) => sum + statSync(join(installed, name)).size, 0)
  t.diagnostic(`${files.length} files, ${statSync(tarball).size} bytes as a tarball, ${unpackedBytes} bytes unpacked`)
})

test('each source was compiled, with types and maps that find it, and nothing in dist is left from a source that is gone', () => {
  const sources = files.filter((name) => /^lib\/.*\.ts$/.test(name)).map((name) => name.slice('lib/'.length, -'.ts'.length))
  assert.ok(existsSync(join(folder, 'project', 'lib', 'index.ts')) && sources.length > PRIMITIVES.length)
  const expected = sources.flatMap((name) => ['.js', '.js.map', '.d.ts', '.d.ts.map'].map((ending) => `dist/${name}${ending}`))
  assert.deepEqual(files.filter((name) => name.startsWith('dist/')), expected.sort())
  for (const name of expected.filter((name) => name.endsWith('.map'))) {
    const path = join(installed, name)
    const map = JSON.parse(readFileSync(path, 'utf8'))
    const [source, ...others] = map.sources.map((each) => relative(installed, resolve(dirname(path), map.sourceRoot ?? '', each)))
    assert.deepEqual([source, others], [name.replace(/^dist/, 'lib').replace(/(?:\.d\.ts|\.js)\.map$/, '.ts'), []])
    assert.match(readFileSync(path.slice(0, -'.map'.length), 'utf8'), new RegExp(`\\n//# sourceMappingURL=${basename(path)}\\s*$`))
  }
})

test('each subpath of exports exists, and leads to no file outside of dist', () => {
  for (const subpath of SUBPATHS) {
    assert.deepEqual(Object.keys(exports[subpath]), ['types', 'default'])
    for (const target of Object.values(exports[subpath])) {
      assert.ok(files.includes(target.slice('./'.length)) && target.startsWith('./dist/'), target)
    }
  }
})

test('it installs as one package, which runs nothing and brings nothing along', () => {
  assert.match(installation.stdout, /^added 1 package\b/m)
  assert.equal(installation.stderr, '')
  const { packages } = JSON.parse(readFileSync(join(app, 'package-lock.json'), 'utf8'))
  assert.deepEqual(Object.keys(packages), ['', 'node_modules/longhaul'])
  assert.equal(packages['node_modules/longhaul'].hasInstallScript, undefined)
  const { scripts } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  for (const hook of ['preinstall', 'install', 'postinstall', 'prepublish', 'prepare']) assert.equal(scripts[hook], undefined)
})

test('publint has nothing to say, suggestions included', async () => {
  const { messages } = await publint({ pack: { tarball: toArrayBuffer(readFileSync(tarball)) }, level: 'suggestion', strict: true })
  assert.deepEqual(messages, [])
})

/**
 * What `@arethetypeswrong` says of every package that has ES modules only, and why it holds nobody up:
 *
 * - `node10`, TypeScript's resolution before `exports`, finds none of them. It can describe no Node that runs this
 *   package, and TypeScript 7 has removed it.
 * - `node16-cjs`: a CommonJS file gets an ES module. Node requires those since 20.19, the oldest that is supported (see
 *   the test of `require` below), and TypeScript knows it since 5.8, with `module: nodenext` or `node20`. Elsewhere it takes
 *   `import()` (see the tests of types). Declarations for `require` were tried and rejected: under `node16` they hold only
 *   where `skipLibCheck` is set, and `@arethetypeswrong` calls each of them FalseCJS.
 */
const OF_EVERY_ESM_PACKAGE = ['node10 NoResolution', 'node16-cjs CJSResolvesToESM']

test('"Are the types wrong?" finds nothing but what is so for every package that has ES modules only', async () => {
  const { problems } = await checkPackage(createPackageFromTarballData(readFileSync(tarball)))
  const found = problems.map(({ kind, resolutionKind, entrypoint }) => `${entrypoint} ${resolutionKind} ${kind}`)
  assert.deepEqual(found.sort(), SUBPATHS.flatMap((subpath) => OF_EVERY_ESM_PACKAGE.map((problem) => `${subpath} ${problem}`)).sort())
})

test('the consumer that the types are tried on uses every export of every subpath', () => {
  const paths = Object.fromEntries(SUBPATHS.map((subpath) => [join('longhaul', subpath), join(installed, exports[subpath].types)]))
  const program = ts.createProgram(Object.values(paths), { module: ts.ModuleKind.NodeNext, noLib: true, types: [] })
  const checker = program.getTypeChecker()
  const declared = (symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol)
  const exported = (subpath) => checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(paths[subpath])))

  const elsewhere = new Set(Object.keys(paths).filter((subpath) => subpath !== 'longhaul').flatMap(exported).map(declared))
  const imports = importsOf(readFileSync(join(HERE, 'package', 'consumer.ts'), 'utf8'))
  for (const subpath of Object.keys(paths)) {
    const names = exported(subpath).filter((symbol) => subpath !== 'longhaul' || !elsewhere.has(declared(symbol))).map(({ name }) => name)
    assert.deepEqual(imports.get(subpath), names.sort(), subpath)
  }
})

for (const { name, minor, types } of COMPILERS) {
  const requires = Number(minor) >= 5.8

  test(`its types hold in TypeScript ${minor}, in ES modules, in CommonJS${requires ? '' : ' by import() only'} and for bundlers, and none of them is any`, LIMITS, async () => {
    const host = linkTypes(minor, types)
    for (const copy of ['consumer.mts', 'consumer.cts', 'bundled.ts']) copyFileSync(join(HERE, 'package', 'consumer.ts'), join(host, copy))
    copyFileSync(join(HERE, 'package', 'lazy.ts'), join(host, 'lazy.cts'))
    const [modules, bundled] = await Promise.all([
      compileWith(name, host, 'nodenext', ['consumer.mts', 'consumer.cts', 'lazy.cts']),
      compileWith(name, host, 'bundler', ['bundled.ts']),
    ])
    const imports = requires ? [] : SUBPATHS.map(() => 'consumer.cts TS1479')
    assert.deepEqual([modules.map(shortened), bundled], [imports, []], modules.join('\n'))
  })
}

/**
 * The values of `module` that a compiler has for CommonJS in Node, besides `nodenext`; `node20` is the first that knows what Node requires.
 */
function modulesOf(minor) {
  return [['node16', 4.7], ['node18', 5.8], ['node20', 5.9]].filter(([, since]) => Number(minor) >= since).map(([module]) => module)
}

for (const { name, minor, types } of COMPILERS) {
  const modules = modulesOf(minor)

  test(`in CommonJS, TypeScript ${minor} takes it by import() whatever \`module\` is (${modules.join(', ')}), and by import only from node20 on`, LIMITS, async () => {
    const host = linkTypes(`${minor}-commonjs`, types)
    copyFileSync(join(HERE, 'package', 'consumer.ts'), join(host, 'consumer.cts'))
    copyFileSync(join(HERE, 'package', 'lazy.ts'), join(host, 'lazy.cts'))
    for (const module of modules) {
      const complaints = await compileWith(name, host, module, ['consumer.cts', 'lazy.cts'])
      const imports = module === 'node20' ? [] : SUBPATHS.map(() => 'consumer.cts TS1479')
      assert.deepEqual(complaints.map(shortened), imports, [module, ...complaints].join('\n'))
    }
  })
}

test('each subpath is imported and required, to the same effect and without a warning', LIMITS, async () => {
  const specifiers = SUBPATHS.map((subpath) => join('longhaul', subpath))
  const dump = 'console.log(JSON.stringify(all.map((each) => Object.keys(each).filter((name) => !name.startsWith("__")))))'
  writeFileSync(join(app, 'import.mjs'), `const all = await Promise.all(${JSON.stringify(specifiers)}.map((each) => import(each)))\n${dump}\n`)
  writeFileSync(join(app, 'require.cjs'), `const all = ${JSON.stringify(specifiers)}.map((each) => require(each))\n${dump}\n`)
  const imported = await run(process.execPath, ['import.mjs'], { cwd: app })
  const required = await run(process.execPath, ['require.cjs'], { cwd: app })
  assert.deepEqual([imported.stderr, required.stderr], ['', ''])
  assert.equal(required.stdout, imported.stdout)
  assert.ok(JSON.parse(imported.stdout).every((names) => names.length > 0))
})

test('a bundle of one primitive holds that primitive only, also where it is taken from the index', LIMITS, async (t) => {
  for (const subpath of PRIMITIVES) {
    const names = Object.keys(await import(join(installed, exports[subpath].default))).join()
    const alone = await bundle(`export { ${names} } from '${join('longhaul', subpath)}'`)
    const fromIndex = await bundle(`export { ${names} } from 'longhaul'`)
    const entry = exports[subpath].default
    const isOwn = (file) => file === entry || (dirname(entry) !== './dist' && dirname(file) === dirname(entry))
    assert.deepEqual([alone.files.includes(entry), alone.files.filter((file) => !isOwn(file))], [true, []])
    assert.deepEqual(fromIndex.files.toSorted(), alone.files.toSorted())
    assert.equal(fromIndex.bytes, alone.bytes)
    assert.ok(alone.bytes < alone.files.reduce((sum, file) => sum + statSync(join(installed, file)).size, 0))
    t.diagnostic(`${names}: ${alone.bytes} bytes minified`)
  }
})

test('its program runs by name, answers with its version, and serves an upload and its page', LIMITS, async (t) => {
  const program = join(installed, 'dist', 'cli', 'main.js')
  assert.match(readFileSync(program, 'utf8'), /^#!\/usr\/bin\/env node\n/)
  assert.equal(statSync(program).mode & 0o111, 0o111)
  const { stdout, stderr } = await run('npx', ['--offline', 'longhaul', '--version'], { cwd: app })
  assert.deepEqual([stdout, stderr], [`${version}\n`, ''])

  const dir = temporaryFolder(t)
  const server = spawn(join(app, 'node_modules', '.bin', 'longhaul'), ['--port', '0', '--dir', dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => server.kill('SIGKILL'))
  const exit = once(server, 'exit')
  const endpoint = await Promise.race([
    addressIn(server.stdout),
    exit.then(([code]) => Promise.reject(new Error(`It ended with ${code} before it listened`))),
  ])

  const source = randomBytes(1_000_000)
  const { upload } = await finish(startUpload(t, endpoint, source))
  assertArrived(dir, upload, source)
  if (files.includes('lib/page/index.html')) {
    const page = await fetch(new URL('/', endpoint))
    assert.equal(page.status, 200)
    assert.match(page.headers.get('Content-Type'), /^text\/html\b/)
    assert.match(await page.text(), /<title>/)
  }
  server.kill('SIGTERM')
  assert.deepEqual(await exit, [0, null])
})

/** As strict as a consumer can be. */
const STRICT = {
  strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, noUnusedLocals: true,
  noPropertyAccessFromIndexSignature: true,
  skipLibCheck: false, noEmit: true, target: 'es2022', lib: ['es2022'], types: ['node'],
}
const OPTIONS = {
  nodenext: { ...STRICT, module: 'nodenext', moduleResolution: 'nodenext' },
  bundler: { ...STRICT, module: 'esnext', moduleResolution: 'bundler' },
  node16: { ...STRICT, module: 'node16' },
  node18: { ...STRICT, module: 'node18' },
  node20: { ...STRICT, module: 'node20' },
}

/** Compiles files of `host` and returns the lines of what there is to complain about. */
async function compileWith(compiler, host, resolution, files) {
  const project = join(host, `${files[0]}.json`)
  writeFileSync(project, JSON.stringify({ compilerOptions: OPTIONS[resolution], files }))
  const tsc = join(HERE, 'node_modules', compiler, 'bin', 'tsc')
  const { stdout } = await run(process.execPath, [tsc, '--pretty', 'false', '-p', project], { cwd: host }).catch((error) => error)
  return stdout.split('\n').filter((line) => line !== '')
}

/** The file and the code of a complaint. */
function shortened(complaint) {
  return complaint.replace(/^(\S+)\(\d+,\d+\): error (TS\d+): .*$/, '$1 $2')
}

/** Makes a folder in which `longhaul` and these types of Node are found. */
function linkTypes(name, types) {
  const host = join(app, name)
  mkdirSync(join(host, 'node_modules', '@types'), { recursive: true })
  symlinkSync(join(HERE, 'node_modules', types), join(host, 'node_modules', '@types', 'node'))
  return host
}

/** What a source imports, by module, in alphabetical order. */
function importsOf(source) {
  const statements = source.matchAll(/^import (?:type )?\{([^}]*)\} from '(longhaul[^']*)'$/gm)
  return new Map(
    Array.from(statements, ([, names, from]) => [
      from,
      names
        .split(',')
        .map((name) => name.trim().replace(/^type /, ''))
        .filter(Boolean)
        .sort(),
    ]),
  )
}

/** Bundles a program of the application; tells which files of the package are in it. */
async function bundle(contents) {
  const stdin = { contents, resolveDir: app }
  const { metafile } = await build({
    stdin,
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'esm',
    absWorkingDir: installed,
  })
  const [{ bytes, inputs }] = Object.values(metafile.outputs)
  return {
    bytes,
    files: Object.keys(inputs)
      .filter((name) => name !== '<stdin>' && inputs[name].bytesInOutput > 0)
      .map((name) => `./${name}`),
  }
}

/** The address in the line that the program says first. */
async function addressIn(output) {
  for await (const line of createInterface({ input: output })) {
    const [address] = /http:\/\/\S+/.exec(line) ?? []
    if (address) return address
  }
}

function filesBelow(directory) {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
}

function toArrayBuffer({ buffer, byteOffset, byteLength }) {
  return buffer.slice(byteOffset, byteOffset + byteLength)
}
