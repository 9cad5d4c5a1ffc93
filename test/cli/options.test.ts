// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HELP } from '../../lib/cli/help.ts'
import { parseCommand, type ServeOptions } from '../../lib/cli/options.ts'
import { checkCors } from '../../lib/http/cors.ts'
import { runProgram } from '../support/program.ts'

const DEFAULTS: ServeOptions = {
  dir: './uploads',
  host: '127.0.0.1',
  port: 1080,
  path: '/files/',
  maxSize: 100 * 1024 ** 3,
  graceMs: 10_000,
  idleTimeoutMs: 60_000,
  keepAliveMs: 75_000,
  fileMode: 0o600,
  directoryMode: 0o700,
  sync: 'finish',
  publicUrl: undefined,
  expiresMs: undefined,
  lock: 'file',
  download: false,
  interopVersions: [8, 9],
  cors: [],
  allowedHosts: [],
  maxConcurrent: undefined,
  page: true,
  log: 'text',
}

test('No words at all serve ./uploads on the loopback interface', () => {
  assert.deepEqual(parseCommand([]), { kind: 'serve', options: DEFAULTS })
})

const ACCEPTED: readonly (readonly [words: readonly string[], options: Partial<ServeOptions>])[] = [
  [['/srv/uploads'], { dir: '/srv/uploads' }],
  [['--dir', '/srv/uploads'], { dir: '/srv/uploads' }],
  [['--dir=up loads'], { dir: 'up loads' }],
  [['--', '-odd'], { dir: '-odd' }],
  [['--host', '::1'], { host: '::1' }],
  [['--host', 'localhost'], { host: 'localhost' }],
  [['--port', '0'], { port: 0 }],
  [['--port=65535'], { port: 65535 }],
  [['--port', '1', '--port', '2'], { port: 2 }],
  [['--max-size', '0'], { maxSize: 0 }],
  [['--max-size', '10MiB'], { maxSize: 10_485_760 }],
  [['--grace', '500ms'], { graceMs: 500 }],
  [['--grace', '1ms'], { graceMs: 1 }],
  [['--idle-timeout', '5m'], { idleTimeoutMs: 300_000 }],
  [['--idle-timeout', '2147483647ms'], { idleTimeoutMs: 2_147_483_647 }],
  [['--keep-alive-timeout', '620s'], { keepAliveMs: 620_000 }],
  [['--keep-alive-timeout=1ms'], { keepAliveMs: 1 }],
  [['--file-mode', '640'], { fileMode: 0o640 }],
  [['--file-mode=0664', '--directory-mode', '775'], { fileMode: 0o664, directoryMode: 0o775 }],
  [['--directory-mode', '0750'], { directoryMode: 0o750 }],
  [['--sync', 'none'], { sync: 'none' }],
  [['--sync', 'append'], { sync: 'append' }],
  [['--public-url', 'https://example.com/up'], { publicUrl: 'https://example.com/up/' }],
  [['--public-url', 'http://localhost:8080/a/b/'], { publicUrl: 'http://localhost:8080/a/b/' }],
  [['--public-url', 'http://[::1]:8080/'], { publicUrl: 'http://[::1]:8080/' }],
  [['--public-url=https://example.com'], { publicUrl: 'https://example.com/' }],
  [['--public-url', '/up'], { publicUrl: '/up/' }],
  [['--public-url', '/'], { publicUrl: '/' }],
  [['--expires', '24h'], { expiresMs: 86_400_000 }],
  [['--expires', '1ms'], { expiresMs: 1 }],
  [['--expires', '1000h'], { expiresMs: 3_600_000_000 }], // longer than a timer of Node can be
  [['--lock', 'memory'], { lock: 'memory' }],
  [['--lock=file'], { lock: 'file' }],
  [['--download'], { download: true }],
  [['--no-page'], { page: false }],
  [['--log', 'json'], { log: 'json' }],
  [['--log=none'], { log: 'none' }],
  [['--cors', '*'], { cors: ['*'] }],
  [['--cors', 'https://example.com'], { cors: ['https://example.com'] }],
  [
    ['--cors=http://localhost:8080', '--cors', 'https://a.example', '--cors', '*'],
    { cors: ['http://localhost:8080', 'https://a.example', '*'] },
  ],
  [['--cors', 'capacitor://localhost', '--cors', 'ionic://localhost'], { cors: ['capacitor://localhost', 'ionic://localhost'] }],
  [['--cors', 'tauri://localhost', '--cors', 'http://tauri.localhost'], { cors: ['tauri://localhost', 'http://tauri.localhost'] }],
  [['--cors', 'app://obsidian.md', '--cors', 'app://.'], { cors: ['app://obsidian.md', 'app://.'] }],
  [['--cors', 'chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai'], { cors: ['chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai'] }],
  [['--allowed-host', 'example.com'], { allowedHosts: ['example.com'] }],
  [
    ['--allowed-host=Example.COM.', '--allowed-host', 'my_service', '--allowed-host', '*'],
    { allowedHosts: ['example.com', 'my_service', '*'] },
  ],
  [['--max-concurrent', '1'], { maxConcurrent: 1 }],
  [['--interop-versions', '9'], { interopVersions: [9] }],
  [['--interop-versions', '3,6,8,9,10,99'], { interopVersions: [3, 6, 8, 9, 10, 99] }],
  [['--interop-versions', '9,9'], { interopVersions: [9, 9] }],
  [['--max-concurrent=999999'], { maxConcurrent: 999_999 }],
  [['--download', 'here', '--lock', 'memory'], { dir: 'here', download: true, lock: 'memory' }],
  [['here', '--port', '8080', '--sync=finish'], { dir: 'here', port: 8080 }],
]

for (const [words, options] of ACCEPTED) {
  test(`'${words.join(' ')}' sets ${JSON.stringify(options)} and nothing else`, () => {
    assert.deepEqual(parseCommand(words), { kind: 'serve', options: { ...DEFAULTS, ...options } })
    for (const origin of options.cors ?? []) if (origin !== '*') checkCors({ origins: [origin] })
  })
}

for (const [word, path] of [
  ['up', '/up/'], ['/up', '/up/'], ['up/', '/up/'], ['/up/', '/up/'],
  ['/a/b', '/a/b/'], ['v1.0/~me', '/v1.0/~me/'], ['/', '/'],
] as const) {
  test(`--path ${word} is ${path}`, () => assert.equal(optionsOf(['--path', word]).path, path))
}

const REFUSED: readonly (readonly [words: readonly string[], message: RegExp])[] = [
  [['--max-siz', '1GB'], /^unknown option '--max-siz': did you mean --max-size\?$/],
  [['--bogus'], /^unknown option '--bogus'$/],
  [['-x'], /^unknown option '-x'$/],
  [['--port', '65536'], /^--port must be a number from 0 to 65535: received '65536'$/],
  [['--port', '-1'], /^--port must have a value: write --port=VALUE if it begins with a dash$/],
  [['--port=-1'], /^--port must be .*: received '-1'$/],
  [['--port', '1e3'], /^--port must be .*: received '1e3'$/],
  [['--port', '0x50'], /^--port must be .*: received '0x50'$/],
  [['--port', '8080x'], /^--port must be .*: received '8080x'$/],
  [['--port', ''], /^--port must be .*: received ''$/],
  [['--port', '000080'], /^--port must be /],
  [['--path', 'a b'], /^--path must be a path such as \/files\/: received 'a b'$/],
  [['--path', '/a//b'], /^--path must be /],
  [['--path', '//'], /^--path must be /],
  [['--path', '/a?b'], /^--path must be /],
  [['--path', '/a#b'], /^--path must be /],
  [['--path', '/a%20b'], /^--path must be /],
  [['--path', '/é'], /^--path must be /],
  [['--path', 'http://example.com/files/'], /^--path must be /],
  [['--path', '/a/../b'], /^--path must be /],
  [['--path', '.'], /^--path must be /],
  [['--max-size', '10mb'], /^--max-size must be a size such as 4096, 10MiB or 2GB: received '10mb'$/],
  [['--max-size', '1.5GiB'], /^--max-size must be /],
  [['--max-size=-1'], /^--max-size must be /],
  [['--max-size', '10s'], /^--max-size must be /],
  [['--grace', '10'], /^--grace must be a time from 1ms to 596h, such as 30s: received '10'$/],
  [['--grace', '0ms'], /^--grace must be /],
  [['--grace', '2147483648ms'], /^--grace must be /],
  [['--grace', '597h'], /^--grace must be /],
  [['--idle-timeout', '0s'], /^--idle-timeout must be /],
  [['--idle-timeout', '10MiB'], /^--idle-timeout must be /],
  [['--keep-alive-timeout', '75'], /^--keep-alive-timeout must be a time from 1ms to 596h, such as 30s: received '75'$/],
  [['--keep-alive-timeout', '0s'], /^--keep-alive-timeout must be /],
  [['--keep-alive-timeout', 'never'], /^--keep-alive-timeout must be /],
  [['--keep-alive-timeout', '597h'], /^--keep-alive-timeout must be /],
  [['--file-mode', '400'], /^--file-mode must be an octal mode such as 640 that lets the owner read and write: received '400'$/],
  [['--file-mode', '0o640'], /^--file-mode must be /],
  [['--file-mode', '648'], /^--file-mode must be /],
  [['--file-mode', '4640'], /^--file-mode must be /],
  [['--file-mode', '64'], /^--file-mode must be /],
  [['--file-mode', 'u=rw,g=r'], /^--file-mode must be /],
  [['--file-mode', ''], /^--file-mode must be /],
  [['--file-mode=-640'], /^--file-mode must be /],
  [['--directory-mode', '640'], /^--directory-mode must be an octal mode such as 750 that gives the owner all permissions: received '640'$/],
  [['--directory-mode', '2750'], /^--directory-mode must be /],
  [['--directory-mode'], /^--directory-mode must have a value$/],
  [['--sync', 'always'], /^--sync must be none, finish or append: received 'always'$/],
  [['--sync', 'Finish'], /^--sync must be /],
  [['--public-url', ''], /^--public-url must be a path or an http URL, such as https:\/\/example\.com\/files\/: received ''$/],
  [['--public-url', 'example.com'], /^--public-url must be /],
  [['--public-url', 'up/'], /^--public-url must be /],
  [['--public-url', '//example.com/'], /^--public-url must be /],
  [['--public-url', 'ftp://example.com/'], /^--public-url must be /],
  [['--public-url', 'https:///up/'], /^--public-url must be /],
  [['--public-url', 'https://'], /^--public-url must be /],
  [['--public-url', 'https://::/up/'], /^--public-url must be /],
  [['--public-url', 'https://example.com:99999/'], /^--public-url must be /],
  [['--public-url', 'https://user@example.com/'], /^--public-url must be /],
  [['--public-url', 'https://example.com/up/?x=1'], /^--public-url must be /],
  [['--public-url', 'https://example.com/up/#x'], /^--public-url must be /],
  [['--public-url', 'https://example.com/a/../b'], /^--public-url must be /],
  [['--public-url', 'https://example.com/a/%2E%2e/b'], /^--public-url must be /],
  [['--public-url', 'http://-a/'], /^--public-url must be /],
  [['--public-url', 'https://example.com/a b'], /^--public-url must be /],
  [['--public-url'], /^--public-url must have a value$/],
  [['--expires', '0s'], /^--expires must be a time above 0, such as 24h: received '0s'$/],
  [['--expires', 'never'], /^--expires must be .*: received 'never'$/],
  [['--expires', '24'], /^--expires must be /],
  [['--expires=-1h'], /^--expires must be /],
  [['--expires', ''], /^--expires must be /],
  [['--expires', '999999999999999h'], /^--expires must be /],
  [['--expires'], /^--expires must have a value$/],
  [['--lock', 'none'], /^--lock must be file or memory: received 'none'$/],
  [['--lock', 'FILE'], /^--lock must be /],
  [['--lock', ''], /^--lock must be /],
  [['--lock'], /^--lock must have a value$/],
  [['--download=yes'], /^--download must not have a value$/],
  [['--no-download'], /'--no-download'/],
  [['--cors'], /^--cors must have a value$/],
  [['--cors', ''], /^--cors must be an origin such as https:\/\/example\.com, or \* for any, pages opened from files included: received ''$/],
  [['--cors', 'example.com'], /^--cors must be /],
  [['--cors', 'https://example.com/'], /^--cors must be /],
  [['--cors', 'https://example.com/path'], /^--cors must be /],
  [['--cors', 'https://example.com:443'], /^--cors must be /],
  [['--cors', 'https://Example.com'], /^--cors must be /],
  [['--cors', 'https://*.example.com'], /^--cors must be /],
  [['--cors', 'https://user@example.com'], /^--cors must be /],
  [['--cors', 'https://a.example,https://b.example'], /^--cors must be /],
  [['--cors', 'https://a.example https://b.example'], /^--cors must be /],
  [['--cors', 'https://a.example', '--cors', 'null'], /^--cors must be .*: received 'null'$/],
  [['--cors', 'file://'], /^--cors must be .*: received 'file:\/\/'$/],
  [['--cors', 'file://localhost'], /^--cors must be /],
  [['--cors', 'capacitor:'], /^--cors must be /],
  [['--cors', 'capacitor://'], /^--cors must be /],
  [['--cors', 'capacitor://localhost/'], /^--cors must be /],
  [['--cors', 'capacitor://localhost/index.html'], /^--cors must be /],
  [['--cors', 'capacitor://user@localhost'], /^--cors must be /],
  [['--cors', 'Capacitor://localhost'], /^--cors must be /],
  [['--cors', 'capacitor://localhost:99999'], /^--cors must be /],
  [['--cors', '://localhost'], /^--cors must be /],
  [['--cors', 'data:,'], /^--cors must be /],
  [['--allowed-host'], /^--allowed-host must have a value$/],
  [['--allowed-host', ''], /^--allowed-host must be a host name without a port, such as example\.com, or \* for any: received ''$/],
  [['--allowed-host', 'example.com:8080'], /^--allowed-host must be /],
  [['--allowed-host', 'https://example.com'], /^--allowed-host must be /],
  [['--allowed-host', '*.example.com'], /^--allowed-host must be /],
  [['--allowed-host', 'a.example,b.example'], /^--allowed-host must be /],
  [['--allowed-host', 'example.com/'], /^--allowed-host must be /],
  [['--max-concurrent', '0'], /^--max-concurrent must be a number from 1 to 999999: received '0'$/],
  [['--max-concurrent', '1000000'], /^--max-concurrent must be /],
  [['--max-concurrent', '1e3'], /^--max-concurrent must be /],
  [['--max-concurrent=-1'], /^--max-concurrent must be /],
  [['--max-concurrent', ''], /^--max-concurrent must be /],
  [['--interop-versions', '2'], /^--interop-versions must be draft versions from 3 to 99, such as 8,9: received '2'$/],
  [['--interop-versions', '100'], /^--interop-versions must be /],
  [['--interop-versions', '8,'], /^--interop-versions must be /],
  [['--interop-versions', ''], /^--interop-versions must be /],
  [['--interop-versions', '08'], /^--interop-versions must be /],
  [['--interop-versions', '8, 9'], /^--interop-versions must be /],
  [['--interop-versions', '8.5'], /^--interop-versions must be /],
  [['--interop-versions', 'eight'], /^--interop-versions must be /],
  [['--dir', ''], /^--dir must be /],
  [['--host', ''], /^--host must be /],
  [['--dir'], /^--dir must have a value$/],
  [['--dir', '--port', '1'], /^--dir must have a value: /],
  [['--bogus'], /'--bogus'/],
  [['--bogus=1'], /'--bogus'/],
  [['-p', '1'], /'-p'/],
  [['--__proto__', '1'], /'--__proto__'/],
  [['--help=1'], /^--help must not have a value$/],
  [['--help', '--bogus'], /'--bogus'/],
  [['a', 'b'], /^unexpected argument 'b'$/],
  [['--dir', 'a', 'b'], /^unexpected argument 'b'$/],
  [[''], /argument|--dir/],
  [['--sync', 'a\nb'], /^--sync must be /],
]

for (const [words, message] of REFUSED) {
  test(`${JSON.stringify(words.join(' '))} is refused with a line that says what is wrong`, () => {
    assert.match(messageOf(words), message)
  })
}

test('--help and --version win over what would be served', () => {
  assert.deepEqual(parseCommand(['--help', '--port', '99999']), { kind: 'help' })
  assert.deepEqual(parseCommand(['dir', '--version']), { kind: 'version' })
  assert.deepEqual(parseCommand(['--version', '--help']), { kind: 'help' })
})

test('The defaults that --help states are the ones in force', () => {
  const stated = [...HELP.matchAll(/^ {2}(--[a-z-]+) .* \(default: ([^)]+)\)$/gm)].map(([, flag = '', word = '']) => [flag, word] as const)
  assert.equal(stated.length, 16)
  const inWords = new Map([['--expires', 'never'], ['--max-concurrent', 'up to 10000']]) // no command line says those
  for (const words of stated) {
    if (inWords.has(words[0])) assert.equal(words[1], inWords.get(words[0]))
    else assert.deepEqual(optionsOf(words), DEFAULTS, words[0])
  }
})

test('--help has a line for each flag, aligned with the others, and no line is wider than 100 columns', () => {
  const flags = [
    'dir', 'host', 'port', 'path', 'public-url', 'allowed-host', 'max-size', 'grace', 'idle-timeout', 'keep-alive-timeout',
    'max-concurrent', 'sync', 'file-mode', 'directory-mode', 'expires', 'lock', 'download', 'cors', 'interop-versions', 'log', 'no-page',
    'help', 'version',
  ]
  const lines = HELP.split('\n')
  const described = lines.filter((line) => line.startsWith('  --'))
  assert.deepEqual(described.map((line) => /^ {2}--([a-z-]+)/.exec(line)?.[1]).sort(), flags.sort())
  for (const line of described) assert.match(line, /^.{27} {2}\S/, line)
  for (const line of lines) assert.ok(line.length <= 100, line)
})

test('A bad value of a flag is one line on stderr, and exit code 2', async () => {
  for (const words of [
    ['--public-url', 'x'],
    ['--expires', '0s'],
    ['--lock', 'none'],
    ['--download=yes'],
    ['--cors', 'example.com'],
    ['--cors', 'null'],
    ['--file-mode', '400'],
    ['--keep-alive-timeout', '0s'],
  ]) {
    const { code, stdout, stderr } = await runProgram(words)
    assert.deepEqual([code, stdout], [2, ''])
    assert.match(stderr, /^longhaul: [^\n]*--[^\n]+ \(see --help\)\n$/)
  }
})

test('Every port from 0 to 65535 is taken, and no other number', () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 65535 }), (port) => {
    assert.equal(optionsOf([`--port=${port}`]).port, port)
  }))
  fc.assert(fc.property(fc.oneof(fc.integer({ max: -1 }), fc.integer({ min: 65536 })), (port) => {
    assert.match(messageOf([`--port=${port}`]), /^--port must be /)
  }))
})

test('Whichever slashes a path is given with, it gets one at both ends', () => {
  const segment = fc.stringMatching(/^[A-Za-z0-9_~-]{1,8}$/)
  const slash = fc.constantFrom('', '/')
  fc.assert(fc.property(slash, fc.array(segment, { minLength: 1, maxLength: 4 }), slash, (before, segments, after) => {
    const inner = segments.join('/')
    assert.equal(optionsOf([`--path=${before}${inner}${after}`]).path, `/${inner}/`)
  }))
})

test('Whatever the words are, they serve, ask or get one line in reply', () => {
  const names = [
    '--dir', '--host', '--port', '--path', '--max-size', '--grace', '--idle-timeout', '--keep-alive-timeout', '--file-mode',
    '--directory-mode', '--sync', '--expires', '--lock', '--download', '--cors', '--public-url', '--allowed-host', '--max-concurrent',
    '--help', '--', '--x',
  ]
  const flags = fc.constantFrom(...names)
  const values = fc.constantFrom(
    '',
    '0',
    '1',
    '10MiB',
    '30s',
    'none',
    'memory',
    '/files/',
    '640',
    '777',
    '*',
    'https://a.example',
    'capacitor://localhost',
    'null',
    'https://::',
    '-1',
  )
  const word = fc.oneof(flags, values, fc.string({ unit: 'binary' }))
  fc.assert(fc.property(fc.array(word, { maxLength: 6 }), (words) => {
    const command = parseCommand(words)
    if (command.kind === 'invalid') assert.match(command.message, /^[^\n]+$/)
    if (command.kind === 'serve') assertServable(command.options)
  }))
})

function assertServable(options: ServeOptions): void {
  const {
    dir,
    host,
    port,
    path,
    maxSize,
    graceMs,
    idleTimeoutMs,
    sync,
    publicUrl,
    expiresMs,
    lock,
    download,
    cors,
    allowedHosts,
    maxConcurrent,
  } = options
  assert.notEqual(dir, '')
  assert.notEqual(host, '', 'an empty host listens on every interface')
  assert.ok(Number.isInteger(port) && port >= 0 && port <= 65535)
  assert.match(path, /^\/([^/?#]+\/)*$/)
  assert.ok(Number.isSafeInteger(maxSize) && maxSize >= 0)
  for (const ms of [graceMs, idleTimeoutMs, options.keepAliveMs]) assert.ok(Number.isInteger(ms) && ms >= 1 && ms < 2 ** 31)
  assert.ok(['none', 'finish', 'append'].includes(sync))
  if (publicUrl !== undefined) assert.ok(new URL(publicUrl, 'http://test').href.endsWith('/'), publicUrl)
  assert.ok(expiresMs === undefined || (Number.isSafeInteger(expiresMs) && expiresMs >= 1))
  assert.ok(['file', 'memory'].includes(lock))
  assert.equal(typeof download, 'boolean')
  for (const host of allowedHosts) assert.match(host, /^(?:\*|[a-z0-9_-][a-z0-9._-]*)$/)
  assert.ok(maxConcurrent === undefined || (Number.isInteger(maxConcurrent) && maxConcurrent >= 1))
  for (const origin of cors) assert.ok(origin === '*' || checkCors({ origins: [origin] }))
  assert.equal(options.fileMode & 0o600, 0o600)
  assert.equal(options.directoryMode & 0o700, 0o700)
}

function optionsOf(words: readonly string[]): ServeOptions {
  const command = parseCommand(words)
  if (command.kind !== 'serve') assert.fail(`${words.join(' ')}: ${JSON.stringify(command)}`)
  return command.options
}

function messageOf(words: readonly string[]): string {
  const command = parseCommand(words)
  if (command.kind !== 'invalid') assert.fail(`${JSON.stringify(words)} was taken as ${JSON.stringify(command)}`)
  return command.message
}
