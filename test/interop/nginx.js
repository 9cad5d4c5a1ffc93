// SPDX-License-Identifier: MIT

/** nginx as Debian packages it, with the configuration of lib/OPERATING.md. @module */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { adapt, documented, fixedPort } from './operating.js'

const PROGRAM = '/usr/sbin/nginx'

/**
 * Starts nginx in front of a port on which nobody has to listen yet; stopped after the test. `change` may
 * change the documented block, to show what happens then.
 *
 * @param {import('node:test').TestContext} t
 * @param {{ upstreamPort: number, change?: (block: string) => string }} options
 * @returns {Promise<{ port: number, stop: () => Promise<void> }>}
 */
export async function startNginx(t, { upstreamPort, change = (block) => block }) {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run test/interop/install-nginx.sh`)
  const folder = mkdtempSync(join(tmpdir(), 'longhaul-nginx-'))
  const port = await fixedPort()
  const block = adapt(documented('nginx'), [['listen 80', `listen 127.0.0.1:${port}`], ['127.0.0.1:1080', `127.0.0.1:${upstreamPort}`]])
  writeFileSync(join(folder, 'nginx.conf'), inOneProcess(change(block)))

  const nginx = spawn(PROGRAM, ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'], { stdio: ['ignore', 'ignore', 'pipe'] })
  const closed = once(nginx, 'close')
  const stop = async () => {
    nginx.kill('SIGTERM')
    await closed
    rmSync(folder, { recursive: true, force: true })
  }
  t.after(stop)
  const said = []
  const ready = new Promise((resolve) => {
    createInterface({ input: nginx.stderr }).on('line', (line) => {
      said.push(line)
      if (line.includes('using the "epoll" event method')) resolve() // it listens by then
    })
  })
  await Promise.race([ready, closed.then(() => Promise.reject(new Error(`nginx did not start:\n${said.join('\n')}`)))])
  return { port, stop }
}

/** The block among the settings that Debian has in files around it, with all that is written in the folder. */
function inOneProcess(block) {
  return `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events {}
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${name};`).join('\n  ')}
${block}
}
`
}
