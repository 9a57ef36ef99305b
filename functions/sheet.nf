include { readJson } from './files'

// The distinct inputs of all rows of a samplesheet: [id, kind, file, coordinates or [], whether the files exist, lines].
def inputSources(rows, folder) {
    def spatial = rows.collect { row -> [row.line, 'spatial', locate(row.spatial, folder), findCoordinates(row, folder)] }
    def references = rows.collect { row -> [row.line, 'reference', locate(row.reference, folder), []] }
    return (spatial + references)
        .groupBy { _line, kind, data, coordinates -> [kind, data.toUriString(), coordinates ? coordinates.toUriString() : ''] }
        .values()
        .collect { uses ->
            def (line, kind, data, coordinates) = uses[0]
            def exists = data.exists() && (!coordinates || coordinates.exists())
            ["${kind}_${line}".toString(), kind, data, coordinates, exists, uses.collect { use -> use[0] }]
        }
}

// Relative paths start at the folder of the sheet.
def locate(path, folder) {
    def isAbsolute = path.startsWith('/') || path.matches('[A-Za-z][A-Za-z0-9+.-]*://.*')
    if (isAbsolute) {
        return path.startsWith('/') ? file(path, glob: false).normalize() : file(path, glob: false)
    }
    return folder.resolve(path).normalize()
}

def findCoordinates(row, folder) {
    if (row.coordinates) {
        return locate(row.coordinates, folder)
    }
    def candidates = (row.coordinates_candidates ?: []).collect { path -> locate(path, folder) }
    return candidates.find { candidate -> candidate.exists() } ?: []
}

// The checked samplesheet. Ends the run with a list of all problems if there are any.
def readPlan(json, problems) {
    def checked = readJson(json)
    if (!checked.valid) {
        error(problems.text.trim())
    }
    return checked
}

// [source, meta, request] of samples and of the references that they share
def ingestions(checked, requests) {
    def samples = checked.samples.collect { row -> [[id: row.sample, kind: 'spatial', reference: row.reference], row.spatial_source] }
    def references = checked.samples.collect { row -> [[id: row.reference, kind: 'reference'], row.reference_source] }.unique()
    return (references + samples).collect { meta, source ->
        [source, meta, groovy.json.JsonOutput.toJson(readJson(requests.resolve("${meta.id}.json")))]
    }
}

def sourcesJson(sources) {
    return groovy.json.JsonOutput.toJson(
        sources.collect { id, kind, _data, _coordinates, exists, lines -> [id: id, kind: kind, lines: lines, exists: exists] }
    )
}
