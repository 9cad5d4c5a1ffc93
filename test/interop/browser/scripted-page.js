// SPDX-License-Identifier: MIT

/** Uploads ten bytes with Uppy, any number of times at once, each to an endpoint of its own. @module */

import Uppy from '@uppy/core'
import Tus from '@uppy/tus'

const running = new Map()

/** Resolves with what a person sees in the end. */
globalThis.uploadTenBytes = async (options) => {
  const uppy = new Uppy().use(Tus, { storeFingerprintForResuming: false, ...options })
  running.set(options.endpoint, uppy)
  uppy.addFile({ name: 'ten-bytes', type: 'text/plain', data: new Blob(['0123456789']) })
  const { failed } = await uppy.upload()
  return failed.length === 0 ? 'success' : 'error'
}

/** Cancels an upload that is in progress, and resolves if what was sent of it cannot be removed. */
globalThis.cancelTenBytes = (endpoint) => new Promise((resolve) => {
  // Uppy handles no failure of the removal.
  addEventListener('unhandledrejection', ({ reason }) => {
    if (reason.originalRequest?.getURL().startsWith(endpoint)) resolve('error')
  })
  const uppy = running.get(endpoint)
  uppy.removeFile(uppy.getFiles()[0].id)
})
