// A line of the versions that MultiQC lists.
def versionLine(process, tool, version) {
    return "${process}:\n  ${tool}: '${version}'\n".toString()
}

// Paths of the distinct inputs, for the record of the run.
def sourcePaths(sources) {
    return sources.collect { id, kind, data, coordinates, _exists, _lines -> [id: id, kind: kind, path: data.toUriString(), coordinates: coordinates ? coordinates.toUriString() : null] }
}
