// The output of a command on this machine; empty when it is missing, fails or takes longer than ten seconds.
def outputOf(command) {
    try {
        def started = command.execute()
        started.waitForOrKill(10000)
        return started.exitValue() == 0 ? started.inputStream.text.trim() : ''
    }
    catch (IOException _absent) {
        return ''
    }
}
