// The distinct inputs of all rows of a samplesheet: [id, kind, file, coordinates or [], whether all is there].
def inputSources(rows, folder) {
    def spatial = rows.collect { row -> [row.line, 'spatial', row.spatial, findCoordinates(row, folder)] }
    def references = rows.collect { row -> [row.line, 'reference', row.reference, []] }
    return (spatial + references)
        .unique { source -> source.drop(1).toString() }
        .collect { line, kind, path, coordinates ->
            def data = locate(path, folder)
            def exists = data.exists() && (!coordinates || coordinates.exists())
            ["${kind}_${line}".toString(), kind, data, coordinates, exists]
        }
}

// Relative paths start at the folder of the sheet.
def locate(path, folder) {
    def isAbsolute = path.startsWith('/') || path.matches('[A-Za-z][A-Za-z0-9+.-]*://.*')
    return isAbsolute ? file(path, glob: false) : folder.resolve(path).normalize()
}

def findCoordinates(row, folder) {
    if (row.coordinates) {
        return locate(row.coordinates, folder)
    }
    def candidates = (row.coordinates_candidates ?: []).collect { path -> locate(path, folder) }
    return candidates.find { candidate -> candidate.exists() } ?: []
}
