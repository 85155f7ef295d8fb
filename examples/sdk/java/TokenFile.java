import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/**
 * Reads the token that apicred stores in a mounted Secret: the file is read for each request, so a renewed token is used without
 * a restart. It needs only the JDK (11 or later).
 */
public final class TokenFile {
    private final Path path;
    private final HttpClient client = HttpClient.newHttpClient();

    public TokenFile(Path path) {
        this.path = path;
    }

    /** The token. The file {@code token} contains it and nothing else. */
    public String token() throws IOException {
        return Files.readString(path);
    }

    /** Sends a request with the token. If the API refuses it, the file may be newer: it is read again and the request repeated once. */
    public HttpResponse<String> send(HttpRequest.Builder request) throws IOException, InterruptedException {
        HttpResponse<String> response = sendOnce(request);
        return response.statusCode() == 401 ? sendOnce(request) : response;
    }

    private HttpResponse<String> sendOnce(HttpRequest.Builder request) throws IOException, InterruptedException {
        return client.send(request.copy().setHeader("Authorization", "Bearer " + token()).build(), BodyHandlers.ofString());
    }

    public static void main(String[] urls) throws Exception {
        String path = System.getenv().getOrDefault("TOKEN_FILE", "/var/run/token/token");
        TokenFile file = new TokenFile(Path.of(path));
        for (String url : urls) {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(30));
            System.out.println(file.send(request).statusCode());
        }
    }
}
