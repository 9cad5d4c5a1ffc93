// SPDX-License-Identifier: MIT

/**
 * Goes through all uploads: removes what has expired, finishes what was interrupted.
 *
 * @module
 */

import { isComplete } from './completion.ts'
import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { publishError } from './events.ts'
import { isExpired } from './expiration.ts'
import { fence } from './fence.ts'
import { finishUpload } from './finish.ts'
import { isSettled } from './settle.ts'
import { remove } from './terminate.ts'
import type { Lock, Upload } from './types.ts'

/** What a sweep did: numbers of uploads. */
export interface SweepReport {
  readonly examined: number
  readonly expired: number
  /** Finished or rejected, after they had been complete. */
  readonly settled: number
  /** Uploads and whole steps that failed. Each was published as an error. */
  readonly failed: number
}

/** How many uploads are looked at side by side. */
const CONCURRENCY = 4

/**
 * Looks at every upload in the store once, a few at a time, so that memory does not grow with their
 * number.
 *
 * 1. One that has expired is removed, `onTerminate` first.
 * 2. One that is complete and not finished, as a hook failed or the server stopped, is finished.
 * 3. What crashes left behind is removed.
 *
 * One that a request holds is left alone, and its request is not disturbed. A finished upload is
 * never touched. It does not reject, and ends early when `signal` aborts.
 */
export async function sweepUploads(context: UploadContext, signal: AbortSignal | undefined): Promise<SweepReport> {
  const { store } = context
  const report = { examined: 0, expired: 0, settled: 0, failed: 0 }
  const attempt = async (work: () => unknown): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if (signal?.aborted) return // that is what interrupted it
      report.failed++
      publishError(error as Error)
    }
  }
  let ids: AsyncIterator<string> | undefined
  await attempt(() => (ids = store.list?.()[Symbol.asyncIterator]()))
  const work = async (): Promise<void> => {
    for (let next = await ids?.next(); next && !next.done; next = await ids?.next()) {
      if (signal?.aborted) break
      const id = next.value
      report.examined++
      await attempt(async () => {
        const did = await sweepOne(context, id)
        if (did) report[did]++
      })
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, () => attempt(work)))
  await attempt(() => ids?.return?.())
  if (!signal?.aborted) await attempt(() => store.removeLeftovers?.())
  return report
}

async function sweepOne(context: UploadContext, id: string): Promise<'expired' | 'settled' | undefined> {
  if (!needsSweeping(context, await context.store.find(id))) return undefined
  const lock = await context.locker.tryAcquire(id)
  return lock && sweepHeld({ ...context, store: fence(context.store, lock) }, id, lock)
}

async function sweepHeld(context: UploadContext, id: string, lock: Lock): Promise<'expired' | 'settled' | undefined> {
  const { store } = context
  try {
    const upload = await store.find(id) // somebody may have had it in between
    if (!upload || !needsSweeping(context, upload)) return undefined
    if (isExpired(upload, context.expiration)) {
      await remove(context, upload, 'expired')
      return 'expired'
    }
    return isSettled(await finishUpload(context, upload, 'later')) ? 'settled' : undefined
  } catch (error) {
    if (error instanceof UploadError && error.code === 'BUSY') return undefined // the next sweep may find a quieter moment
    throw error
  } finally {
    await lock.release()
  }
}

function needsSweeping(context: UploadContext, upload: Upload | undefined): boolean {
  if (!upload) return false
  if (isExpired(upload, context.expiration)) return true
  return !isSettled(upload) && (isComplete(upload) || upload.parts !== undefined)
}
