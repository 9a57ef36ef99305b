process CHECK_DEVICE {
    label 'process_gpu'
    // Which node comes is no input: asked again in every run.
    cache false

    input:
    val code

    output:
    tuple path('device.json'), val("${task.executor}"), val("${task.accelerator ? 'asked' : ''}")

    script:
    """
    check_device.py --output device.json
    """

    stub:
    """
    echo '{"gpu": "stub", "reason": "", "node": "stub"}' > device.json
    """
}
