// Nextflow's table of tasks. Nextflow writes it line by line while the pipeline runs, always on this
// machine: in the launch folder when the results are remote, in results/ when the settings miss --outdir.
def findTrace(options) {
    def name = "pipeline_info/trace_${options.trace_report_suffix}.txt"
    return [file("${options.outdir}/${name}"), file(name), file("results/${name}")].find { path -> path.exists() }
}

// The table's text, once it lists the tasks that wrote these files: Nextflow passes a task's files on shortly
// before it lists the task. Empty when there is no table, or it is incomplete after half a minute.
def readTrace(trace, files) {
    def tasks = files.collect { path -> taskHash(path) }.findAll { hash -> hash }.toSet()
    def read = -1
    def complete = trace && (1..30).any { _number ->
        def size = trace.size()
        def grown = size != read
        read = size
        grown && isListed(tasks, trace) || sleep(1000)
    }
    // Failed tasks have no files to wait for.
    sleep(complete ? 300 : 0)
    return complete ? trace.text : ''
}

def isListed(tasks, trace) {
    def missing = tasks.toSet()
    trace.eachLine { line -> missing.removeAll(line.split('\t', 3).take(2)) }
    return !missing
}

// The name of a task in the table, from a path in its work folder.
def taskHash(path) {
    def below = (path.toUriString() - workflow.workDir.toUriString()).tokenize('/')
    return below.size() > 2 && below[0].size() == 2 ? "${below[0]}/${below[1].take(6)}".toString() : null
}

// The costs of the tasks, without columns that change when the run is resumed: the table is the input of a
// task. Without a container engine the images in Nextflow's table were not used.
def costTable(text, engine) {
    def columns = ['process', 'status', 'exit', 'attempt', 'cpus', '%cpu', 'memory', 'peak_rss', 'time', 'realtime', 'queue', 'container']
    def uncounted = ['CHECK_DEVICE', 'COLLATE', 'MULTIQC']
    def lines = text.readLines().collect { line -> line.split('\t', -1).toList() }
    def rows = lines
        .drop(1)
        .findAll { cells -> cells.size() == lines[0].size() }
        .collect { cells -> comparable([lines[0], cells].transpose().collectEntries(), engine) }
        .findAll { row -> !(row.process.tokenize(':').last() in uncounted) }
        .collect { row -> columns.collect { name -> row[name] ?: '-' }.join('\t') }
    return ([columns.join('\t')] + rows.sort()).join('\n') + '\n'
}

def comparable(row, engine) {
    return row + [
        process: row.process ?: row.name.tokenize(' ')[0],
        status: row.status == 'CACHED' ? 'COMPLETED' : row.status,
        container: engine ? row.container : '-',
    ]
}
