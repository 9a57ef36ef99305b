// The parameters of a run with the types of nextflow_schema.json. Ends the run with a list of all problems.
def checkParameters(values, schema_file) {
    def groups = parameterGroups(schema_file)
    def schema = parameterRules(schema_file)
    def required = groups.collectMany { group -> group.required ?: [] }
    def checked = schema.collectEntries { name, rule -> [name, coerce(values[name], rule.type)] }
    def problems = schema.collect { name, rule ->
        def problem = findProblem(checked[name], rule, name in required || rule['default'] != null)
        problem ? "--${name}: ${problem}" : null
    }
    def all = unknownParameters(values.keySet(), schema.keySet()) + problems.findAll { problem -> problem }
    if (all) {
        error(all.join('\n'))
    }
    return checked
}

// One line a parameter, by group.
def parameterHelp(schema_file) {
    return parameterGroups(schema_file)
        .collect { group ->
            def lines = group.properties.collect { name, rule ->
                def standard = rule['default'] == null ? '' : " [${rule['default']}]"
                "  --${name.padRight(32)}${rule.description}${standard}"
            }
            ([group.title] + lines).join('\n')
        }
        .join('\n\n')
}

def parameterGroups(schema_file) {
    return new groovy.json.JsonSlurper().parse(schema_file)['$defs'].values().toList()
}

// What the schema says of each parameter, by name.
def parameterRules(schema_file) {
    return parameterGroups(schema_file).collectEntries { group -> group.properties }
}

// Parameters of institutional configuration files (nf-core/configs) are ignored.
def unknownParameters(names, known) {
    def foreign = ~/(config_profile_|custom_config_|igenomes_).*|validate_params|monochrome_logs/
    return (names - known)
        .findAll { name -> !(name ==~ foreign) }
        .collect { name ->
            "--${name}: there is no such parameter; the nearest is --${nearestName(name, known)}"
        }
}

def nearestName(name, known) {
    return known.min { other -> distance(letters(name), letters(other)) }
}

def letters(name) {
    return name.toLowerCase().replaceAll('[^a-z0-9]', '')
}

// Levenshtein's distance between two words.
def distance(one, other) {
    def first = (0..other.size()).toList()
    def last = one
        .toList()
        .inject(first) { above, letter ->
            other
                .toList()
                .withIndex()
                .inject([above[0] + 1]) { row, pair ->
                    def j = pair[1]
                    row + [[above[j + 1] + 1, row[j] + 1, above[j] + (pair[0] == letter ? 0 : 1)].min()]
                }
        }
    return last.last()
}

// Newer Nextflow passes numbers and booleans of the command line as text.
def coerce(value, type) {
    def text = value == null ? '' : value.toString()
    if (type == 'boolean') {
        return text in ['true', 'false'] ? text == 'true' : value
    }
    if (type == 'integer') {
        return text.isInteger() ? text.toInteger() : value
    }
    if (type == 'number') {
        return text.isNumber() ? text.toBigDecimal() : value
    }
    return value == null || value instanceof Boolean ? value : text
}

def findProblem(value, rule, is_required) {
    if (value == null || value == '') {
        return is_required ? "is needed: ${rule.description}" : null
    }
    if (!hasType(value, rule.type)) {
        return "'${value}' is not ${rule.type == 'integer' ? 'an' : 'a'} ${rule.type}"
    }
    if (rule['enum'] && !(value in rule['enum'])) {
        return "'${value}' is not one of ${rule['enum'].join(', ')}"
    }
    if (rule.pattern && !(value ==~ rule.pattern)) {
        return "'${value}' is not allowed: ${rule.errorMessage}"
    }
    if (rule.minimum != null && value < rule.minimum) {
        return "${value} is below the smallest allowed value, ${rule.minimum}"
    }
    if (rule.maximum != null && value > rule.maximum) {
        return "${value} is above the largest allowed value, ${rule.maximum}"
    }
    return null
}

def hasType(value, type) {
    if (type == 'boolean') {
        return value instanceof Boolean
    }
    if (type == 'integer') {
        return value instanceof Integer
    }
    if (type == 'number') {
        return value instanceof Number
    }
    return value instanceof CharSequence
}

// The thresholds of QUALITY_CONTROL for a kind of data.
def thresholds(options, kind) {
    return [
        min_counts: options["${kind}_min_counts"],
        min_genes: options["${kind}_min_genes"],
        min_cells: options["${kind}_min_cells"],
        max_mito: options["${kind}_max_mito"],
        mad: options.mad_outliers,
    ]
}

// The samplesheet as a file.
def samplesheet(name) {
    def sheet = file(name, glob: false)
    if (!sheet.exists() || sheet.isDirectory()) {
        error("--input: ${sheet.exists() ? 'a folder, not a samplesheet' : 'file not found'}: ${name}")
    }
    if (sheet.toUriString().find('[${}\\n\\r]')) {
        error('--input: the path contains $, {, } or a line break, which Nextflow cannot pass to a task: ' + name)
    }
    return sheet
}
