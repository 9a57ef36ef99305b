include { stepParameters } from './arms'
include { coerce ; findProblem ; nearestName ; parameterRules } from './parameters'

// [[name, parameters, changed], ..]: the arms of the study; without one, the run's parameters as one arm.
def readArms(options) {
    def shared = options.subMap(stepParameters().imputation)
    if (!options.study) {
        return [[name: 'default', parameters: shared, changed: [:]]]
    }
    def sheet = file(options.study, glob: false)
    if (!sheet.exists() || sheet.isDirectory()) {
        error("--study: ${sheet.exists() ? 'a folder, not a table of arms' : 'file not found'}: ${options.study}")
    }
    def (rows, problems) = readStudy(sheet)
    if (problems) {
        error("${problems.size()} problem${problems.size() > 1 ? 's' : ''} in ${sheet.name}:\n${problems.join('\n')}")
    }
    return rows.collect { row -> [name: row.name, parameters: shared + row.changed, changed: row.changed] }
}

// The arms of a table and a list of its problems, worded as in the samplesheet's check.
def readStudy(sheet) {
    def lines = sheet.getText('UTF-8').replace('\uFEFF', '').readLines()
    def table = lines.withIndex(1).findAll { line, _number -> line.trim() }
    if (table.size() < 2) {
        return [[], ["${table ? 'only a header' : 'an empty file'}. Cure: one arm a row under a header that starts with arm"]]
    }
    def separator = [';', '\t'].find { sign -> table[0][0].contains(sign) } ?: ','
    def rules = parameterRules(file("${projectDir}/nextflow_schema.json"))
    def header = cells(table[0][0], separator)
    def rows = table.drop(1).collect { line, number -> readArm(header, cells(line, separator), number, rules) }
    def names = rows.collect { row -> row.name.toLowerCase() }
    def repeated = rows.withIndex().findAll { row, index -> row.name && names.indexOf(row.name.toLowerCase()) < index }
    def problems = headerProblems(header, rules) + rows.collectMany { row -> row.problems } + repeated.collect { row, _index ->
        "line ${row.line}, column arm, value '${row.name}': is already the name of an arm. Cure: choose another name"
    }
    return [rows, problems.collect { problem -> problem.toString() }.toSorted { problem -> problem.tokenize(' ,:')[1].toInteger() }]
}

def cells(line, separator) {
    return line.split(java.util.regex.Pattern.quote(separator), -1).collect { cell -> cell.trim().replaceAll('^"|"$', '').trim() }
}

def headerProblems(header, rules) {
    def allowed = stepParameters().imputation
    def first = header[0] == 'arm' ? [] : ["line 1, column ${header[0]}: is not arm. Cure: the first column must be arm, the names of the arms"]
    def twice = header.countBy { name -> name }.findAll { _name, count -> count > 1 }.keySet()
    def unknown = header
        .drop(1)
        .findAll { name -> !(name in allowed) }
        .collect { name ->
            name in rules.keySet()
                ? "line 1, column ${name}: is the same for all arms. Cure: set it on the command line; arms may change ${allowed.join(', ')}"
                : "line 1, column ${name}: there is no such parameter. Cure: the nearest is ${nearestName(name, allowed)}"
        }
    return first + twice.collect { name -> "line 1, column ${name}: is there twice. Cure: remove one" } + unknown
}

// An arm of a study: its name, the parameters that it changes, and the problems of its row.
def readArm(header, values, line, rules) {
    def row = [header, values].transpose().collectEntries()
    def name = row.arm ?: ''
    def texts = row.findAll { column, value -> value && column in stepParameters().imputation }
    def changed = texts.collectEntries { column, value -> [column, coerce(value, rules[column].type)] }
    def problems = changed
        .collect { column, value -> [column, findProblem(value, rules[column], true)] }
        .findAll { _column, problem -> problem }
        .collect { column, problem -> "line ${line}, column ${column}: ${problem}. Cure: see docs/parameters.md" }
    if (values.size() != header.size()) {
        problems = problems + "line ${line}: ${values.size()} values under ${header.size()} columns. Cure: one value a column, empty to keep the run's value"
    }
    if (!(name ==~ /[A-Za-z0-9][A-Za-z0-9_.-]*/) || name.toLowerCase() == 'baseline') {
        problems = problems + "line ${line}, column arm, value '${name}': is not a valid name of an arm. Cure: letters, digits, _, . and -, other than baseline"
    }
    return [name: name, changed: changed, line: line, problems: problems]
}
