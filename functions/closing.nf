include { readJson } from './files'

// Work at the end of a run, in a thread that the program waits for, a minute at most: when a task's error
// ends a run, Nextflow since 25.10 may exit, or interrupt onComplete, before it is done.
def close(work) {
    def closing = Thread.start('closing') { carefully(work) }
    try {
        Runtime.runtime.addShutdownHook(new Thread({ closing.join(60000) }))
        closing.join()
    }
    catch (IllegalStateException ending) {
        log.debug("The program is ending already: ${ending.message}")
        closing.join()
    }
    catch (InterruptedException interrupted) {
        log.debug("Interrupted at the end of the run: ${interrupted}")
        Thread.currentThread().interrupt()
    }
}

def carefully(work) {
    try {
        work.call()
    }
    catch (Exception error) {
        log.error("The summary or record of the run failed: ${error.message}", error)
    }
}

// Prints where the report is, its headline, and the samples that failed.
def printSummary(outdir) {
    def headline = outdir.resolve('evaluation/headline.json')
    if (workflow.success && headline.exists()) {
        def summary = readJson(headline)
        println("\nReport: ${outdir.resolve('multiqc/multiqc_report.html').toUriString()}")
        summary.headline.each { item -> println("  ${item.name}: ${item.value} (${item.text})") }
        summary.failed.each { sample -> println("  Failed: ${sample.id} in ${sample.step}: ${sample.reason}") }
    }
}
