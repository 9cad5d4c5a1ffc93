// SPDX-License-Identifier: MIT

/** The script of the page: uploads the file in its one input with Uppy. @module */

import Uppy from '@uppy/core'
import Tus from '@uppy/tus'

/** Resolves with the address of the upload; rejects with Uppy's words for what failed. */
globalThis.uploadChosenFile = async (options) => {
  const uppy = new Uppy().use(Tus, options)
  const [file] = document.querySelector('input').files
  uppy.addFile({ name: file.name, type: file.type, data: file })
  const { successful, failed } = await uppy.upload()
  if (failed.length > 0) throw new Error(failed[0].error)
  return successful[0].uploadURL
}
