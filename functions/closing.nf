// Work at the end of a run, in a thread that the end of the program waits for, a minute at most: when a
// task's error ends a run, Nextflow since 25.10 may leave, or interrupt, while onComplete is at work.
def close(work) {
    def closing = Thread.start('closing') { -> work.call() }
    Runtime.runtime.addShutdownHook(new Thread({ -> closing.join(60000) }))
    try {
        closing.join()
    }
    catch (InterruptedException interrupted) {
        log.debug("The end of the run is told while it ends: ${interrupted}")
    }
}
