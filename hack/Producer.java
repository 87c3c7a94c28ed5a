// Sends each line of a file as one record, as any Java program would: keyed, in zstd, with a header.
//
//   java -cp "LIBS/*" hack/Producer.java BOOTSTRAP TOPIC FILE

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

public class Producer {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("compression.type", "zstd");
        settings.put("linger.ms", "20");
        List<String> lines = Files.readAllLines(Path.of(args[2]));
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (String line : lines) {
                var record = new ProducerRecord<>(args[1], "key-" + sent.size() % 100, line);
                record.headers().add("sent-by", "java".getBytes(StandardCharsets.UTF_8));
                sent.add(producer.send(record));
            }
            for (Future<RecordMetadata> each : sent) {
                each.get(); // a record that was not stored is an error here
            }
        }
        System.out.println("java: sent " + sent.size() + " records");
    }
}
